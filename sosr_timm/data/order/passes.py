"""The samples of an epoch in their order: one pass over the set or several, each image once or repeated."""

from __future__ import annotations

import math

import numpy as np

from sosr_timm.data.order.seeding import ORDER, seed_words

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

    Raises:
        ValueError: numbers below these.
    """

    def __init__(self, num_samples: int, seed: int, repeats: float = 0.0, epoch_repeats: float = 0.0):
        if repeats and repeats < 1:
            raise ValueError(f"{repeats:g} repeats of an image: at least 1")
        if epoch_repeats < 0:
            raise ValueError(f"{epoch_repeats:g} passes an epoch: at least 0")
        self.num_samples, self.seed, self.repeats = num_samples, seed, repeats or 1
        self.per_pass = num_samples
        if repeats and num_samples >= ROUND:
            self.per_pass = num_samples // ROUND * ROUND
        self.samples_per_epoch = int(self.per_pass * max(1, epoch_repeats))

    def permutation(self, epoch: int, number: int = 0) -> np.ndarray:
        """(num_samples,) int64: the order of the images in a pass of an epoch."""
        words = (epoch, number) if number else (epoch,)
        return np.random.default_rng(seed_words(self.seed, ORDER, *words, count=4)).permutation(self.num_samples)

    def take(self, epoch: int, count: int) -> tuple[np.ndarray, np.ndarray]:
        """The first samples of an epoch.

        Args:
            epoch: from 0.
            count: how many; passes follow each other for as long as it takes.

        Returns:
            (count,) int64 positions in the set, and (count,) int64 which copy of its image in this epoch each is.
        """
        place = (np.arange(self.per_pass) // self.repeats).astype(np.int64)
        first = np.searchsorted(place, place)  # where the image came first
        copy = np.arange(self.per_pass) - first
        most = math.ceil(self.repeats)
        numbers = range(max(1, -(-count // self.per_pass)))
        indices = [self.permutation(epoch, number)[place] for number in numbers]
        copies = [copy + number * most for number in numbers]
        return np.concatenate(indices)[:count], np.concatenate(copies)[:count]
