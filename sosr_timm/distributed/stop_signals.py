"""Requests from outside to stop or to save: noticed by one process, agreed on by all."""

from __future__ import annotations

import signal
import time
from types import FrameType

from sosr_timm.distributed.launchers import LauncherWatch
from sosr_timm.distributed.processes import Processes
from sosr_timm.errors import UserError

STOPPING = (signal.SIGTERM, signal.SIGINT, signal.SIGUSR1)


class StopSignals:
    """Signals, the launcher and the clock, polled once per update by every process together.

    The first signal asks for a checkpoint and an end; a second SIGINT ends the process at once. A launcher that has
    ended counts as SIGTERM.

    Args:
        processes: that must agree.
        checkpoint_every: "500" (updates), "600s" (seconds) or "" for the ends of epochs only.

    Raises:
        UserError: `checkpoint_every` is neither.
    """

    def __init__(self, processes: Processes, checkpoint_every: str = ""):
        self.processes = processes
        self.updates, self.seconds = _interval(checkpoint_every)
        self._launcher = LauncherWatch()
        self._noted = 0
        self._previous: dict[int, object] = {}
        self.saved_now()

    def __enter__(self) -> StopSignals:
        for number in STOPPING:
            self._previous[number] = signal.signal(number, self._note)
        return self

    def __exit__(self, *exception: object) -> None:
        for number, handler in self._previous.items():
            signal.signal(number, handler)

    def _note(self, number: int, frame: FrameType | None) -> None:
        if self._noted and number == signal.SIGINT:
            raise KeyboardInterrupt
        self._noted = number

    def _mine(self) -> int:
        """The signal that this process noticed, or 0."""
        if not self._noted and self._launcher.has_ended():
            self._noted = int(signal.SIGTERM)
        return self._noted

    def saved_now(self) -> None:
        """Restart the interval: a checkpoint was just written, or failed."""
        self._updates_since = 0
        self._saved_at = time.monotonic()

    def share_of_interval(self, seconds: float) -> float:
        """What part of the time since the last checkpoint `seconds` is; 0 without --checkpoint-every."""
        if not (self.updates or self.seconds):
            return 0.0
        return seconds / max(seconds, time.monotonic() - self._saved_at)

    def received(self) -> int:
        """The signal that reached any process, or 0; every process must call it."""
        return self.processes.maximum([self._mine()])[0]

    def after_update(self) -> tuple[int, bool]:
        """The signal that reached any process, or 0, and whether a checkpoint is due; every process must call it."""
        self._updates_since += 1
        due = bool(self.updates) and self._updates_since >= self.updates
        if self.seconds:
            due = due or time.monotonic() - self._saved_at >= self.seconds
        number, due_somewhere = self.processes.maximum([self._mine(), int(due)])
        return number, bool(due_somewhere)


def _interval(text: str) -> tuple[int, float]:
    """(updates, seconds), one of them 0."""
    number = text[:-1] if text.endswith("s") else text
    if not text:
        return 0, 0.0
    if not (number.isascii() and number.isdigit()) or not int(number):
        raise UserError(f"--checkpoint-every {text}: give updates (500) or seconds (600s)")
    return (0, float(number)) if text.endswith("s") else (int(number), 0.0)
