"""The samples of an epoch in their order: one pass over the set or several, each image once or repeated."""

from __future__ import annotations

import math

import numpy as np

from sosr_timm.data.order.shuffle import Shuffle, make_shuffle

ROUND = 256  # repeated augmentation draws complete groups of this many samples, where the set has that many


class Passes:
    """The sample at each position of an epoch, and which copy of it: a function of (seed, epoch).

    With repeated augmentation (Hoffer et al. 2020, arXiv 1901.09335) each image of the permutation is
    repeated `repeats` times in a row, and a pass ends after as many samples as the set has, as with timm's sampler. So
    a pass keeps its length and shows only a part of the images.

    Args:
        num_samples: size of the data set.
        seed: of the permutations.
        repeats: how often each image is repeated in a row, at least 1; 0 for once. May be a fraction.
        epoch_repeats: passes over the set that make an epoch; 0 for one. May be a fraction.
        shuffle: the order of each pass; that of `make_shuffle` where None.

    Raises:
        ValueError: numbers below these.
    """

    def __init__(
        self,
        num_samples: int,
        seed: int,
        repeats: float = 0.0,
        epoch_repeats: float = 0.0,
        shuffle: Shuffle | None = None,
    ):
        if repeats and repeats < 1:
            raise ValueError(f"{repeats:g} repeats of an image: at least 1")
        if epoch_repeats < 0:
            raise ValueError(f"{epoch_repeats:g} passes an epoch: at least 0")
        self.num_samples, self.seed, self.repeats = num_samples, seed, repeats or 1
        self.shuffle = make_shuffle(num_samples, seed) if shuffle is None else shuffle
        self.per_pass = num_samples
        if repeats and num_samples >= ROUND:
            self.per_pass = num_samples // ROUND * ROUND
        self.samples_per_epoch = int(self.per_pass * max(1, epoch_repeats))

    def permutation(self, epoch: int, number: int = 0) -> np.ndarray:
        """(num_samples,) int64: the order of the images in a pass of an epoch."""
        return self.shuffle.samples(epoch, number, 0, self.num_samples)

    def take(self, epoch: int, stop: int, start: int = 0) -> tuple[np.ndarray, np.ndarray]:
        """A stretch of the samples of an epoch.

        Args:
            epoch: from 0.
            stop: position after the last of them; passes follow each other for as long as it takes.
            start: position of the first of them.

        Returns:
            (stop - start,) int64, positions in the set; and (stop - start,) int64, which copy of its image in this
            epoch each sample is.
        """
        most = math.ceil(self.repeats)
        indices, copies = [], []
        for number in range(start // self.per_pass, max(1, -(-stop // self.per_pass))):
            begin = number * self.per_pass
            found = self._of_pass(epoch, number, max(start - begin, 0), min(stop - begin, self.per_pass))
            indices.append(found[0])
            copies.append(found[1] + number * most)
        return np.concatenate(indices), np.concatenate(copies)

    def _of_pass(self, epoch: int, number: int, start: int, stop: int) -> tuple[np.ndarray, np.ndarray]:
        """The samples at positions of one pass, and which copy of its image in the pass each is."""
        if self.repeats == 1:
            return self.shuffle.samples(epoch, number, start, stop), np.zeros(stop - start, np.int64)
        positions = np.arange(start, stop)
        place = (positions // self.repeats).astype(np.int64)
        first = self._first_with(place)
        low = int(place[0]) if len(place) else 0
        images = self.shuffle.samples(epoch, number, low, int(place[-1]) + 1 if len(place) else low)
        return images[place - low], positions - first

    def _first_with(self, place: np.ndarray) -> np.ndarray:
        """The first position of a pass at which each image is; `repeats` need not be exact in binary."""
        first = np.ceil(place * self.repeats).astype(np.int64)
        first -= ((first - 1) // self.repeats == place) & (first > 0)
        return first + (first // self.repeats < place)
