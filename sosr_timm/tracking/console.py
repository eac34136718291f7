"""What a run prints while it trains: a bar on a terminal, plain lines elsewhere."""

from __future__ import annotations

import logging
import sys
import textwrap
from collections.abc import Iterable, Sequence
from contextlib import suppress
from typing import TextIO

from sosr_timm.text import duration, fitted, rate, width_of
from sosr_timm.tracking.bar import Bar
from sosr_timm.tracking.stopwatch import TimeLeft

logger = logging.getLogger("sosr_timm")


class _Printer(logging.Handler):
    """Prints messages at once: a file or a scheduler may be reading.

    A full disk below the log file, or a reader that has gone, costs the message and not the run.

    Args:
        to_stderr: standard output holds something else.
    """

    def __init__(self, to_stderr: bool):
        super().__init__()
        self.to_stderr = to_stderr

    @property
    def stream(self) -> TextIO:
        return sys.stderr if self.to_stderr else sys.stdout

    def emit(self, record: logging.LogRecord) -> None:
        with suppress(OSError):
            Bar.write(self.format(record), file=self.stream)
            self.stream.flush()


def show_log(is_main: bool, to_stderr: bool = False) -> None:
    """Print the package's messages, once, from the main process.

    Args:
        is_main: other processes print errors only.
        to_stderr: leave standard output to a result.
    """
    logger.setLevel(logging.INFO if is_main else logging.ERROR)
    for handler in [handler for handler in logger.handlers if isinstance(handler, _Printer)]:
        logger.removeHandler(handler)
    logger.addHandler(_Printer(to_stderr))
    logger.propagate = False


def show_facts(facts: dict[str, str], title: str = "", commands: bool = False) -> None:
    """Print names and what they are, a line each; on a terminal broken to its width.

    Args:
        facts: name -> text, which may have several lines.
        title: a line above, under which the others are indented.
        commands: the texts are command lines to copy, which are not broken.
    """
    width = None if commands else width_of(sys.stdout)
    margin = "  " if title else ""
    indent = len(margin) + max(map(len, facts)) + 2
    if title:
        logger.info("%s", title)
    for name, text in facts.items():
        lines: list[str] = []
        for line in text.splitlines():
            lines += _wrapped(line, width - indent) if width else [line]
        for number, line in enumerate(lines):
            logger.info("%s", f"{margin}{name if number == 0 else ''}".ljust(indent) + line)


def show_notes(notes: Iterable[str]) -> None:
    """Print notes, a line each; on a terminal broken to its width, with the later lines indented."""
    width = width_of(sys.stdout)
    for note in notes:
        first, *others = _wrapped(note, width - 2) if width else [note]
        for line in (first, *(f"  {other}" for other in others)):
            logger.info("%s", line)


def _wrapped(line: str, width: int) -> list[str]:
    return textwrap.wrap(line, max(width, 20), break_long_words=False, break_on_hyphens=False) or [""]


class Console:
    """Progress of a run: a bar where standard error is a terminal, else one line per log interval.

    Args:
        is_main: only the main process prints.
        total: updates of the run.
    """

    def __init__(self, is_main: bool, total: int):
        self.is_main = is_main
        self.on_terminal = is_main and sys.stderr.isatty()
        self.total = total
        self._bar: Bar | None = None
        self._time_left: TimeLeft | None = None
        self._said: set[str] = set()

    def start_epoch(self, epoch: int, updates: int, done: int) -> None:
        """An epoch begins, or continues after the updates that are done."""
        if self._time_left is None:
            self._time_left = TimeLeft(self.total, epoch * updates + done)
        if self.on_terminal:
            self._bar = Bar(updates, f"epoch {epoch}", done, enabled=True)
            self._bar.show(self.time_left(epoch * updates + done))

    def advance(self) -> None:
        """An update is done."""
        if self._bar is not None:
            self._bar.update()

    def time_left(self, step: int) -> list[str]:
        """How long the run will still take after `step` updates, as an item of a line; none where unknown."""
        seconds = self._time_left.after(step) if self._time_left is not None else None
        return [] if seconds is None else [f"{duration(seconds)} left"]

    def interval(
        self, epoch: int, update: int, updates: int, means: dict[str, float], timing: dict[str, float], lr: float
    ) -> None:
        """One log interval: loss and its parts, learning rate, speed, time spent waiting for data, time left.

        Args:
            epoch: counted from 0.
            update: updates done in the epoch.
            updates: of an epoch.
            means: of the loss and its parts.
            timing: `images_per_second` and `data_wait`.
            lr: learning rate.
        """
        left = self.time_left(epoch * updates + update)
        loss, speed = f"loss {means['loss']:.4g}", rate(timing["images_per_second"])
        parts = [f"{name} {value:.4g}" for name, value in means.items() if name != "loss"]
        others = [f"lr {lr:.3g}", speed, f"waiting for data {timing['data_wait']:.0%}"]
        if self._bar is not None:
            self._bar.show([loss, *left, speed, *parts, others[0], others[2]])
        else:
            items = [f"update {update}/{updates}", f"{loss} ({' '.join(parts)})", *others, *left]
            logger.info("%s", fitted(f"epoch {epoch}", items, width_of(sys.stdout)))

    def epoch(self, epoch: int, items: Sequence[str], of_ema: Sequence[str] = ()) -> None:
        """The line of an epoch that is done; on a terminal broken between items, with the EMA below the model.

        Args:
            epoch: counted from 0.
            items: training loss, metrics, time left.
            of_ema: metrics of the EMA.
        """
        width, head = width_of(sys.stdout), f"epoch {epoch}"
        if width is None:
            self.say(fitted(head, [*items, *(("EMA:",) if of_ema else ()), *of_ema], None))
            return
        self.say(fitted(head, items, width))
        if of_ema:
            self.say(fitted(f"{'EMA':>{len(head)}}", of_ema, width))

    def end_epoch(self) -> None:
        if self._bar is not None:
            self._bar.close()
            self._bar = None

    def say_once(self, message: str) -> None:
        """A hint that is not repeated, whatever numbers it holds."""
        kind = "".join(character for character in message if not character.isdigit())
        if kind not in self._said:
            self._said.add(kind)
            self.say(message)

    def say(self, message: str) -> None:
        """A line of its own, above the bar where there is one."""
        if self.is_main:
            logger.info("%s", message)
