"""What a run says while it runs: a bar on a terminal, plain lines elsewhere."""

from __future__ import annotations

import logging
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager

from tqdm import tqdm

logger = logging.getLogger("sosr_timm")


class _Printer(logging.Handler):
    """Messages on standard output, at once: a file or a scheduler may be reading."""

    def emit(self, record: logging.LogRecord) -> None:
        print(self.format(record), flush=True)


def show_log(is_main: bool) -> None:
    """Let the package's messages be seen, once, by the main process."""
    logger.setLevel(logging.INFO if is_main else logging.ERROR)
    if not logger.handlers:
        logger.addHandler(_Printer())
        logger.propagate = False


class Console:
    """Progress for whoever watches: a bar where standard error is a terminal, else one line per interval.

    Args:
        is_main: only the main process speaks.
    """

    def __init__(self, is_main: bool):
        self.is_main = is_main
        self.on_terminal = is_main and sys.stderr.isatty()
        self._bar: tqdm | None = None
        self._said: set[str] = set()

    def start_epoch(self, epoch: int, epochs: int, updates: int, done: int) -> None:
        if self.on_terminal:
            self._bar = tqdm(
                total=updates, initial=done, desc=f"epoch {epoch + 1}/{epochs}", unit="update", leave=False
            )

    def advance(self) -> None:
        if self._bar is not None:
            self._bar.update()

    def interval(
        self, epoch: int, update: int, updates: int, means: dict[str, float], timing: dict[str, float], lr: float
    ) -> None:
        """One log interval: loss and its parts, learning rate, speed, time spent waiting for data."""
        parts = " ".join(f"{name} {value:.4g}" for name, value in means.items() if name != "loss")
        text = (
            f"loss {means['loss']:.4g} ({parts})  lr {lr:.3g}  {timing['images_per_second']:,.0f} images/s  "
            f"waiting for data {timing['data_wait']:.0%}"
        )
        if self._bar is not None:
            self._bar.set_postfix_str(text)
        else:
            logger.info("epoch %d  update %d/%d  %s", epoch + 1, update, updates, text)

    def end_epoch(self) -> None:
        if self._bar is not None:
            self._bar.close()
            self._bar = None

    def say_once(self, message: str) -> None:
        """A hint that is not repeated, whatever figures it holds."""
        kind = "".join(character for character in message if not character.isdigit())
        if kind not in self._said:
            self._said.add(kind)
            self.say(message)

    def say(self, message: str) -> None:
        """A line of its own, above the bar where there is one."""
        if not self.is_main:
            return
        if self._bar is not None:
            self._bar.write(message)
        else:
            logger.info("%s", message)


class Stopwatch:
    """Where the time goes: seconds in all and seconds spent waiting for data, since the last reading."""

    def __init__(self):
        self._since = time.perf_counter()
        self._waited = 0.0

    @contextmanager
    def waiting(self) -> Iterator[None]:
        """Count what happens inside as waiting for data."""
        start = time.perf_counter()
        yield
        self._waited += time.perf_counter() - start

    def read(self) -> tuple[float, float]:
        """(seconds, seconds waiting) since the last call."""
        now = time.perf_counter()
        result = (now - self._since, self._waited)
        self._since, self._waited = now, 0.0
        return result
