"""Faults that must be noticed: unreadable images, losses and gradients that are not finite."""

from __future__ import annotations

import logging
import math
from collections.abc import Iterable

import torch
from torch import Tensor

from sosr_timm.data.loaders.batch import Batch
from sosr_timm.distributed.processes import Processes
from sosr_timm.errors import UserError

logger = logging.getLogger("sosr_timm")

NEVER = torch.iinfo(torch.int64).max


class Guard:
    """Watches over a run without waiting for the device at each step.

    With "stop" the first step whose loss was not finite is found at the end of its log interval, and before any
    checkpoint: nothing is saved over the last good one. With "skip" every update is looked at, which costs one wait for
    the device, and a bad one is undone: weights, batch norm and the state of the loss stay as they were.

    Args:
        parts: names of the loss's parts.
        on_nonfinite: "stop" or "skip".
        max_bad_images: share of the training images that may be unreadable.
        num_images: size of the training set.
        processes: that must agree.

    Attributes:
        unreadable: names of the images that this process could not read.
        skipped: updates left out.
    """

    def __init__(
        self, parts: tuple[str, ...], on_nonfinite: str, max_bad_images: float, num_images: int, processes: Processes
    ):
        self.names = ("loss", *parts)
        self.skip = on_nonfinite == "skip"
        self.max_bad_images, self.num_images, self.processes = max_bad_images, num_images, processes
        self.unreadable: list[str] = []
        self.skipped = 0
        # For each part of the loss the first step at which it was not finite.
        self.first = torch.full((len(self.names),), NEVER, dtype=torch.int64, device=processes.device)
        self._before: list[tuple[Tensor, Tensor]] = []

    def readable(self, batch: Batch) -> Batch:
        """The batch, after its unreadable images were named and counted.

        Raises:
            UserError: too many of them so far, or all images of a batch.
        """
        for bad in batch.unreadable:
            if bad.name not in self.unreadable:
                self.unreadable.append(bad.name)
                logger.error("unreadable image left out: %s (%s)", bad.name, bad.reason)  # whichever process it was
        if batch.unreadable and not len(batch.images):
            self._refuse(len(self.unreadable), on_one_rank=True)
        self._check_share(len(self.unreadable), on_one_rank=True)
        return batch

    def count_unreadable(self) -> int:
        """Unreadable images of all processes; every process must call it.

        Raises:
            UserError: too many.
        """
        total = int(self.processes.sum(torch.tensor(len(self.unreadable))))
        self._check_share(total, on_one_rank=False)
        return total

    def _check_share(self, found: int, on_one_rank: bool) -> None:
        if found > self.max_bad_images * self.num_images:
            self._refuse(found, on_one_rank)

    def _refuse(self, found: int, on_one_rank: bool) -> None:
        last = f", the last {self.unreadable[-1]}" if self.unreadable else ""
        raise UserError(
            f"{found} of {self.num_images} training images cannot be read{last}; --max-bad-images allows a share of "
            f"{self.max_bad_images:g}",
            on_one_rank,
        )

    def watch(self, step: int, loss: Tensor, parts: dict[str, Tensor]) -> None:
        """Note on the device which parts of a batch's loss are not finite."""
        values = torch.stack([loss.detach().float(), *(parts[name].float() for name in self.names[1:])])
        self.first = torch.minimum(self.first, torch.where(values.isfinite(), NEVER, step))

    def before_update(self, state: Iterable[Tensor]) -> None:
        """Remember what a forward pass changes, so that a bad one can be undone."""
        if self.skip:
            self._before = [(tensor, tensor.clone()) for tensor in state]

    def undo_bad_update(self, parameters: Iterable[Tensor], scaled: bool) -> bool:
        """With "skip", undo an update whose loss or gradient is not finite on any process, and count it.

        Args:
            parameters: with their gradients.
            scaled: a loss scaler leaves infinite gradients out by itself.

        Returns:
            whether the update was undone, so that the optimizer must not step.
        """
        if not self.skip:
            return False
        gradients = [parameter.grad for parameter in parameters if parameter.grad is not None]
        bad = bool((self.first < NEVER).any())
        if gradients and not scaled:
            bad = bad or not bool(torch.stack(torch._foreach_norm(gradients)).isfinite().all())
        if not self.processes.maximum([int(bad)])[0]:
            return False
        for tensor, before in self._before:
            tensor.copy_(before)
        self.skipped += 1
        return True

    def describe(self, step: int, lr: float) -> str:
        """Which step, which part of the loss, which learning rate; every process must call it."""
        first = self._first_anywhere()
        self.first.fill_(NEVER)
        if min(first) == NEVER:
            return f"step {step}: a gradient is not finite (learning rate {lr:.3g})"
        parts = [name for name, value in zip(self.names, first, strict=True) if value == min(first)]
        named = [name for name in parts if name != "loss"] or parts
        return f"step {min(first)}: the loss is not finite in {', '.join(named)} (learning rate {lr:.3g})"

    def _first_anywhere(self) -> list[int]:
        return [-value for value in self.processes.maximum([-value for value in self.first.tolist()])]

    def check(self, step: int, lr: float, means: dict[str, float] | None = None) -> None:
        """End the run where a loss was not finite since the last look; every process must call it.

        Args:
            step: updates done.
            lr: learning rate now.
            means: of the interval, read anyway: finite means need no second look.

        Raises:
            UserError: with the step, the learning rate and the part of the loss.
        """
        if self.skip or (means is not None and all(math.isfinite(value) for value in means.values())):
            return
        if min(self._first_anywhere()) < NEVER:
            raise UserError(
                f"{self.describe(step, lr)}; nothing was saved after the last good checkpoint. "
                "Try a lower --lr, --clip-grad, or --on-nonfinite skip"
            )
