"""Where the time goes, and how much of it is left."""

from __future__ import annotations

import time
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from typing import TypeVar

Item = TypeVar("Item")


class Stopwatch:
    """Seconds, and how many of them were spent waiting for data.

    Attributes:
        waited: seconds spent waiting since the last reading.
    """

    def __init__(self):
        self._since = time.perf_counter()
        self.waited = 0.0

    @contextmanager
    def waiting(self) -> Iterator[None]:
        """Count what happens inside as waiting for data."""
        start = time.perf_counter()
        yield
        self.waited += time.perf_counter() - start

    def watch(self, items: Iterable[Item]) -> Iterator[Item]:
        """The items of an iterable; the time that it takes to give one counts as waiting."""
        iterator = iter(items)
        while True:
            with self.waiting():
                item = next(iterator, self)
            if item is self:
                return
            yield item

    @property
    def seconds(self) -> float:
        """Seconds since the last reading."""
        return time.perf_counter() - self._since

    def read(self) -> tuple[float, float]:
        """(seconds, seconds waiting) since the last reading, which starts anew."""
        result = (self.seconds, self.waited)
        self._since, self.waited = time.perf_counter(), 0.0
        return result


class TimeLeft:
    """How long the rest will take, judged by the pace since the start of this process.

    Args:
        total: steps in all.
        done: of these, before this process started.
    """

    def __init__(self, total: int, done: int):
        self.total, self.first = total, done
        self._since = time.perf_counter()

    def after(self, done: int) -> float | None:
        """Seconds left when `done` steps are done; None before the first step and after the last."""
        if not self.first < done < self.total:
            return None
        return (time.perf_counter() - self._since) / (done - self.first) * (self.total - done)
