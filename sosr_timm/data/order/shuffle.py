"""Random orders of a data set: a function of (seed, epoch, pass, position), computed a stretch at a time."""

from __future__ import annotations

from abc import ABC, abstractmethod

import numpy as np

from sosr_timm.data.order.bijection import Bijection
from sosr_timm.data.order.seeding import ORDER, seed_words

# Up to this many samples an order is a permutation in memory, as it always was: 134 MB. ImageNet-21k has 14.2 million.
LARGEST_PERMUTATION = 1 << 24
KINDS = ("auto", "permutation", "bijection", "shards")
WINDOW = 16  # shards that are mixed, by default


class Shuffle(ABC):
    """A random order of `num_samples` samples for each pass of each epoch.

    Args:
        num_samples: of the data set.
        seed: of the orders.
    """

    name: str

    def __init__(self, num_samples: int, seed: int):
        self.num_samples, self.seed = num_samples, seed

    @abstractmethod
    def samples(self, epoch: int, number: int, start: int, stop: int) -> np.ndarray:
        """(stop - start,) int64: the samples at these positions of a pass."""

    def words(self, epoch: int, number: int, *more: int) -> list[int]:
        """The seeds of a pass."""
        passes = (number,) if number or more else ()
        return seed_words(self.seed, ORDER, epoch, *passes, *more, count=4)


class Permutation(Shuffle):
    """NumPy's permutation, in memory."""

    name = "permutation"

    def __init__(self, num_samples: int, seed: int):
        super().__init__(num_samples, seed)
        self._last: tuple[tuple[int, int], np.ndarray] | None = None

    def __getstate__(self) -> dict:
        return {**self.__dict__, "_last": None}

    def samples(self, epoch: int, number: int, start: int, stop: int) -> np.ndarray:
        if self._last is None or self._last[0] != (epoch, number):
            order = np.random.default_rng(self.words(epoch, number)).permutation(self.num_samples)
            self._last = (epoch, number), order
        return self._last[1][start:stop]


class BijectiveShuffle(Shuffle):
    """A `Bijection`: nothing in memory, and any position at once."""

    name = "bijection"

    def samples(self, epoch: int, number: int, start: int, stop: int) -> np.ndarray:
        return Bijection(self.num_samples, self.words(epoch, number))(np.arange(start, stop))


class ShardWindows(Shuffle):
    """Shards in random order, and random samples of `window` of them at a time.

    Args:
        ends: (S,) int64, the position after the last sample of each shard.
        seed: of the orders.
        window: shards whose samples are mixed.
    """

    name = "shards"

    def __init__(self, ends: np.ndarray, seed: int, window: int = WINDOW):
        if window < 1:
            raise ValueError(f"a window of {window} shards: at least 1")
        super().__init__(int(ends[-1]), seed)
        self.starts = np.concatenate([[0], ends[:-1]]).astype(np.int64)
        self.sizes = np.diff(ends, prepend=0).astype(np.int64)
        self.window = window
        self._pass: tuple[tuple[int, int], np.ndarray, np.ndarray] | None = None
        self._window: tuple[tuple[int, int, int], np.ndarray] | None = None

    def __getstate__(self) -> dict:
        return {**self.__dict__, "_pass": None, "_window": None}

    def samples(self, epoch: int, number: int, start: int, stop: int) -> np.ndarray:
        shards, ends = self._order_of_shards(epoch, number)
        found = []
        while start < stop:
            place = int(np.searchsorted(ends, start, side="right")) // self.window
            first = place * self.window
            mine = shards[first : first + self.window]
            begin = int(ends[first - 1]) if first else 0
            end = int(ends[first + len(mine) - 1])
            last = min(stop, end)
            found.append(self._of_window(epoch, number, place, mine, start - begin, last - begin))
            start = last
        return np.concatenate(found) if found else np.empty(0, np.int64)

    def _order_of_shards(self, epoch: int, number: int) -> tuple[np.ndarray, np.ndarray]:
        """The shards of a pass in order, and the position after the last sample of each."""
        if self._pass is None or self._pass[0] != (epoch, number):
            shards = np.random.default_rng(self.words(epoch, number, 0)).permutation(len(self.sizes))
            self._pass = (epoch, number), shards, np.cumsum(self.sizes[shards])
        return self._pass[1:]

    def _of_window(self, epoch: int, number: int, place: int, shards: np.ndarray, start: int, stop: int) -> np.ndarray:
        """The samples at positions of a window."""
        ends = np.cumsum(self.sizes[shards])
        words = self.words(epoch, number, 1, place)
        if ends[-1] > LARGEST_PERMUTATION:
            within = Bijection(int(ends[-1]), words)(np.arange(start, stop))
        else:
            if self._window is None or self._window[0] != (epoch, number, place):
                self._window = (epoch, number, place), np.random.default_rng(words).permutation(int(ends[-1]))
            within = self._window[1][start:stop]
        which = np.searchsorted(ends, within, side="right")
        return self.starts[shards[which]] + within - (ends - self.sizes[shards])[which]


def make_shuffle(
    num_samples: int, seed: int, kind: str = "auto", shard_ends: np.ndarray | None = None, window: int = WINDOW
) -> Shuffle:
    """The order of a data set.

    Args:
        num_samples: of the data set.
        seed: of the orders.
        kind: of `KINDS`; "auto" is a permutation for up to `LARGEST_PERMUTATION` samples, else a bijection.
        shard_ends: the position after the last sample of each shard, for "shards".
        window: shards that are mixed, for "shards".

    Raises:
        ValueError: an unknown kind, or shards that are not known.
    """
    if kind not in KINDS:
        raise ValueError(f"order '{kind}': one of {', '.join(KINDS)}")
    if kind == "shards":
        if shard_ends is None:
            raise ValueError("the data set is not stored in shards")
        return ShardWindows(shard_ends, seed, window)
    if kind == "bijection" or (kind == "auto" and num_samples > LARGEST_PERMUTATION):
        return BijectiveShuffle(num_samples, seed)
    return Permutation(num_samples, seed)
