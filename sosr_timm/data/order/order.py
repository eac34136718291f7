"""Which sample when: a pure function of seed, epoch and position, the same for any number of processes and workers."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import NamedTuple

import numpy as np
from torch.utils.data import Sampler

from sosr_timm.data.order.batch_sizes import EqualBatches, ScheduledBatches
from sosr_timm.data.order.passes import Passes
from sosr_timm.data.order.shuffle import Shuffle

AHEAD = 1 << 16  # samples whose places are computed at once


class BatchKey(NamedTuple):
    """One batch of one process: everything that its samples and their augmentation depend on.

    Attributes:
        epoch: from 0.
        batch: position in the epoch, from 0.
        indices: positions in the data set, in order.
        copies: which copy of its image in this epoch each sample is, from 0; empty where all are the first.
        choice: which of the training's image sizes the batch has, from 0.
    """

    epoch: int
    batch: int
    indices: tuple[int, ...]
    copies: tuple[int, ...] = ()
    choice: int = 0


class TrainingOrder:
    """Global batch g of an epoch is the g-th slice of that epoch's samples; rank r takes every world-th element.

    The samples of a step are therefore the same set for any number of processes at equal global batch, and
    training can start at any step. A last slice that is not full is dropped, as in timm.

    Args:
        num_samples: size of the data set.
        batch_size: samples per process and batch.
        world_size: number of processes.
        rank: this process, from 0.
        seed: of the orders.
        repeats: how often each image is repeated in a row, see `Passes`.
        epoch_repeats: passes over the set that make an epoch, see `Passes`.
        steps: batches of an epoch, whatever the size of the set; None for as many as are full.
        sizes: of batches that differ, made from the samples of an epoch and the steps; None for equal ones.
        shuffle: the order of each pass; that of `make_shuffle` where None.

    Raises:
        ValueError: fewer samples than one global batch, or numbers that make no order.
    """

    def __init__(
        self,
        num_samples: int,
        batch_size: int,
        world_size: int = 1,
        rank: int = 0,
        seed: int = 42,
        *,
        repeats: float = 0.0,
        epoch_repeats: float = 0.0,
        steps: int | None = None,
        sizes: Callable[[int, int | None], ScheduledBatches] | None = None,
        shuffle: Shuffle | None = None,
    ):
        if steps is not None and steps < 1:
            raise ValueError(f"{steps} batches an epoch: at least 1")
        self.num_samples = num_samples
        self.global_batch = batch_size * world_size
        self.world_size = world_size
        self.rank = rank
        self.seed = seed
        self.passes = Passes(num_samples, seed, repeats, epoch_repeats, shuffle)
        samples = self.passes.samples_per_epoch
        self.sizes = EqualBatches(samples, self.global_batch, steps) if sizes is None else sizes(samples, steps)
        self.batches_per_epoch = self.sizes.batches_per_epoch
        if not self.batches_per_epoch:
            raise ValueError(
                f"the training set has {num_samples} samples, fewer than one batch of {self.global_batch} "
                f"({batch_size} x {world_size} processes)"
            )

    def permutation(self, epoch: int) -> np.ndarray:
        """(num_samples,) int64: the order of an epoch's first pass."""
        return self.passes.permutation(epoch)

    def samples_of(self, epoch: int, batches: slice) -> int:
        """Samples in some batches of an epoch, over all processes."""
        return self.sizes.samples(epoch, batches)

    def keys(self, epoch: int, batch: int, epochs: int) -> Iterator[BatchKey]:
        """This process's batches from (epoch, batch) to the end of epoch `epochs` - 1."""
        for current in range(epoch, epochs):
            stretch = _Stretch(self.passes, current)
            first = batch if current == epoch else 0
            for position, (start, size) in enumerate(self.sizes.placed(current, first), first):
                indices, copies = stretch.take(start, start + size.samples)
                mine = slice(self.rank, None, self.world_size)
                later = copies[mine] if copies[mine].any() else ()
                yield BatchKey(current, position, tuple(indices[mine].tolist()), tuple(map(int, later)), size.choice)


class _Stretch:
    """The samples of an epoch, some batches ahead.

    Args:
        passes: of the data set.
        epoch: from 0.
    """

    def __init__(self, passes: Passes, epoch: int):
        self.passes, self.epoch = passes, epoch
        self.start = self.stop = 0
        self.samples: tuple[np.ndarray, np.ndarray] | None = None

    def take(self, start: int, stop: int) -> tuple[np.ndarray, np.ndarray]:
        """What is at these positions, which follow those of the call before."""
        if self.samples is None or not self.start <= start <= stop <= self.stop:
            self.start, self.stop = start, max(stop, min(start + AHEAD, self.passes.samples_per_epoch))
            self.samples = self.passes.take(self.epoch, self.stop, self.start)
        part = slice(start - self.start, stop - self.start)
        return self.samples[0][part], self.samples[1][part]


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
