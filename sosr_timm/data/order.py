"""Which sample when: a pure function of seed, epoch and position, the same for any number of processes and workers."""

from __future__ import annotations

from collections.abc import Iterator
from typing import NamedTuple

import numpy as np
from torch.utils.data import Sampler

from sosr_timm.data.seeding import ORDER, seed_words


class BatchKey(NamedTuple):
    """One batch of one process: everything that its samples and their augmentation depend on.

    Attributes:
        epoch: from 0.
        batch: position in the epoch, from 0.
        indices: positions in the data set, in order.
    """

    epoch: int
    batch: int
    indices: tuple[int, ...]


class TrainingOrder:
    """Global batch g of an epoch is the g-th slice of that epoch's permutation; rank r takes every world-th element.

    The samples of a step are therefore the same set for any number of processes at equal global batch, and
    training can start at any step. A last slice that is not full is dropped, as in timm.

    Args:
        num_samples: size of the data set.
        batch_size: samples per process and batch.
        world_size: number of processes.
        rank: this process, from 0.
        seed: of the permutations.

    Raises:
        ValueError: fewer samples than one global batch.
    """

    def __init__(self, num_samples: int, batch_size: int, world_size: int = 1, rank: int = 0, seed: int = 42):
        self.num_samples = num_samples
        self.global_batch = batch_size * world_size
        self.world_size = world_size
        self.rank = rank
        self.seed = seed
        self.batches_per_epoch = num_samples // self.global_batch
        if not self.batches_per_epoch:
            raise ValueError(
                f"the training set has {num_samples} samples, fewer than one batch of {self.global_batch} "
                f"({batch_size} x {world_size} processes)"
            )

    def permutation(self, epoch: int) -> np.ndarray:
        """(num_samples,) int64: the order of an epoch."""
        return np.random.default_rng(seed_words(self.seed, ORDER, epoch, count=4)).permutation(self.num_samples)

    def keys(self, epoch: int, batch: int, epochs: int) -> Iterator[BatchKey]:
        """This process's batches from (epoch, batch) to the end of epoch `epochs` - 1."""
        for current in range(epoch, epochs):
            permutation = self.permutation(current)
            for position in range(batch if current == epoch else 0, self.batches_per_epoch):
                start = position * self.global_batch
                part = permutation[start + self.rank : start + self.global_batch : self.world_size]
                yield BatchKey(current, position, tuple(part.tolist()))


class TrainingSampler(Sampler[BatchKey]):
    """All batches from a starting point to the end of training, as one stream.

    Loader processes thus work ahead over the end of an epoch: nothing drains while the model is evaluated.
    """

    def __init__(self, order: TrainingOrder, epoch: int, batch: int, epochs: int):
        self.order, self.epoch, self.batch, self.epochs = order, epoch, batch, epochs

    def __iter__(self) -> Iterator[BatchKey]:
        return self.order.keys(self.epoch, self.batch, self.epochs)

    def __len__(self) -> int:
        return max(0, (self.epochs - self.epoch) * self.order.batches_per_epoch - self.batch)


class EvaluationOrder(Sampler[int]):
    """Whole batches dealt to the processes in turn, without padding: rank r takes batches r, r + world, ...

    A batch holds the same samples for any number of processes, so its logits and its sums are the same too.
    """

    def __init__(self, num_samples: int, batch_size: int, world_size: int = 1, rank: int = 0):
        self.num_samples, self.batch_size = num_samples, batch_size
        self.world_size, self.rank = world_size, rank
        self.num_batches = -(-num_samples // batch_size)

    def __iter__(self) -> Iterator[int]:
        return iter(range(self.rank, self.num_batches, self.world_size))

    def __len__(self) -> int:
        return len(range(self.rank, self.num_batches, self.world_size))

    def indices(self, batch: int) -> range:
        """Positions in the data set of a batch."""
        return range(batch * self.batch_size, min((batch + 1) * self.batch_size, self.num_samples))
