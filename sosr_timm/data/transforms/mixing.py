"""Mixup and CutMix: timm's, with random numbers that depend on the batch alone."""

from __future__ import annotations

from timm.data import Mixup
from torch import Tensor

from sosr_timm.data.order.seeding import MIXING, seed_cpu


class Mixing:
    """timm's `Mixup`, seeded for each batch.

    Args:
        off_epoch: no mixing from this epoch on; 0 for never off. Targets stay dense.
        arguments: of `timm.data.Mixup`.

    Raises:
        ValueError: neither alpha is positive.
    """

    def __init__(self, off_epoch: int = 0, **arguments):
        self.off_epoch = off_epoch
        self.mixup = Mixup(**arguments)
        if self.mixup.mixup_alpha <= 0 and self.mixup.cutmix_alpha <= 0:
            raise ValueError("mixing needs a positive alpha of Mixup or CutMix")

    def __call__(
        self, images: Tensor, target: Tensor, seed: int, epoch: int, batch: int, rank: int
    ) -> tuple[Tensor, Tensor]:
        """Mixed images (M, C, H, W) and dense targets (M, K) float32 from images and (M,) labels; M must be even."""
        seed_cpu(seed, MIXING, epoch, batch, rank)
        self.mixup.mixup_enabled = not self.off_epoch or epoch < self.off_epoch
        return self.mixup(images, target)
