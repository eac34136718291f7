"""Several views of each image in one batch: the first one clean, the others augmented (AugMix, arXiv 1912.02781)."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import torch
from PIL import Image
from torch import Tensor


class SplitViews:
    """Views of one image as timm's AugMixDataset makes them: all share crop and flips, all but the first are augmented.

    Args:
        base: crop and flips, of a PIL image.
        augment: what only the other views go through.
        finish: PIL image -> (C, H, W) float32.
        finish_first: the same for the first view.
        count: of views, at least 2.
    """

    def __init__(self, base: Callable, augment: Callable, finish: Callable, finish_first: Callable, count: int):
        self.base, self.augment, self.finish, self.finish_first, self.count = base, augment, finish, finish_first, count

    def __call__(self, image: Image.Image) -> Tensor:
        """(count, C, H, W) float32."""
        image = self.base(image)
        views = [self.finish_first(image)]
        views += [self.finish(self.augment(image)) for _ in range(self.count - 1)]
        return torch.stack(views)


def in_splits(images: Tensor, target: Tensor) -> tuple[Tensor, Tensor]:
    """Views of a batch in the order of splits: the first views of all images, then the second ones, ...

    Args:
        images: (M, V, C, H, W).
        target: (M, ...), of the images.

    Returns:
        (V * M, C, H, W), and the targets as often.
    """
    count = images.shape[1]
    return images.transpose(0, 1).flatten(0, 1), target.repeat(count, *(1,) * (target.ndim - 1))


def split_stages(stages: tuple[Any, Any, Any], count: int, spare_first: bool) -> SplitViews:
    """Views from timm's three stages of a training transform.

    Args:
        stages: crop and flips, augmentation, then tensor, normalisation and random erasing.
        count: of views.
        spare_first: no random erasing in the first view.

    Raises:
        ValueError: nothing would tell the views apart.
    """
    from timm.data.random_erasing import RandomErasing
    from torchvision.transforms import Compose

    base, augment, finish = stages
    if not augment.transforms and not any(isinstance(stage, RandomErasing) for stage in finish.transforms):
        raise ValueError("all views of an image would be the same: give --aa, or --reprob")
    kept = [stage for stage in finish.transforms if not (spare_first and isinstance(stage, RandomErasing))]
    return SplitViews(base, augment, finish, Compose(kept), count)
