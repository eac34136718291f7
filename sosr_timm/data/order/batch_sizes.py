"""How many samples each batch of an epoch has and at which image size: alike, or drawn by timm's schedule."""

from __future__ import annotations

from collections.abc import Iterator
from itertools import accumulate, islice
from typing import NamedTuple

import torch
from timm.data.scheduled_sampler import ScheduledBatchSampler


class BatchSize(NamedTuple):
    """One batch of all processes.

    Attributes:
        samples: in it.
        choice: which of the image sizes it has, from 0.
    """

    samples: int
    choice: int = 0


class EqualBatches:
    """As many samples in every batch.

    Args:
        samples: of an epoch.
        batch_size: samples of a batch over all processes.
        steps: batches of an epoch; None for as many as are full.
    """

    def __init__(self, samples: int, batch_size: int, steps: int | None = None):
        self.sizes = (batch_size,)
        self.batches_per_epoch = samples // batch_size if steps is None else steps

    def samples(self, epoch: int, batches: slice) -> int:
        """Samples in some batches of an epoch."""
        return len(range(*batches.indices(self.batches_per_epoch))) * self.sizes[0]

    def of(self, epoch: int) -> list[BatchSize]:
        """The batches of an epoch in their order."""
        return [BatchSize(self.sizes[0])] * self.batches_per_epoch

    def placed(self, epoch: int, first: int = 0) -> Iterator[tuple[int, BatchSize]]:
        """The batches of an epoch from one on: the position of the first sample of each, and its size."""
        size = BatchSize(self.sizes[0])
        return ((batch * size.samples, size) for batch in range(first, self.batches_per_epoch))


class ScheduledBatches:
    """Batches of several image sizes, each with a batch size of its own, as timm's ScheduledBatchSampler draws them.

    Args:
        samples: of an epoch.
        steps: batches of an epoch; None for as many as use its samples up.
        batch_sizes: samples of a batch over all processes, one for each image size; so the schedule is the same for
            any number of processes.
        seed: of the draws.
        probabilities: of the image sizes, one for each; equal where None.
        schedule: "constant", or "progressive" from the first image size to the last.
        epochs: over which it progresses.
        spread: standard deviation of the progressive window, in image sizes.
        random_mix: share of draws of the progressive schedule that are uniform.

    Raises:
        ValueError: what timm refuses.
    """

    def __init__(
        self,
        samples: int,
        steps: int | None,
        *,
        batch_sizes: tuple[int, ...],
        seed: int,
        probabilities: tuple[float, ...] | None = None,
        schedule: str = "constant",
        epochs: int = 1,
        spread: float = 0.65,
        random_mix: float = 0.1,
    ):
        self.sizes, self.seed = batch_sizes, seed
        self.sampler = ScheduledBatchSampler(
            range(samples),
            batch_sizes,
            probabilities,
            seed=seed,
            num_batches=steps,
            choice_schedule=schedule,
            schedule_epochs=epochs,
            schedule_spread=spread,
            schedule_random_mix=random_mix,
        )
        self.batches_per_epoch = len(self.sampler)

    def samples(self, epoch: int, batches: slice) -> int:
        """Samples in some batches of an epoch."""
        return sum(size.samples for size in self.of(epoch)[batches])

    def placed(self, epoch: int, first: int = 0) -> Iterator[tuple[int, BatchSize]]:
        """The batches of an epoch from one on: the position of the first sample of each, and its size."""
        drawn = self.of(epoch)
        ends = accumulate(size.samples for size in drawn)
        return islice(((end - size.samples, size) for end, size in zip(ends, drawn, strict=True)), first, None)

    def of(self, epoch: int) -> list[BatchSize]:
        """The batches of an epoch in their order."""
        self.sampler.set_epoch(epoch)
        drawn = self.sampler.schedule
        # timm shuffles them while it deals out samples, which here are dealt out elsewhere.
        generator = torch.Generator().manual_seed(self.seed + 2 * epoch + 1)
        order = torch.randperm(len(drawn), generator=generator).tolist() if len(drawn) > 1 else range(len(drawn))
        return [BatchSize(drawn[place][1], drawn[place][0]) for place in order]
