"""Several views of an evaluation image, whose logits are averaged: the crop, its mirror image, then the corners."""

from __future__ import annotations

from typing import Any

import torch
from PIL import Image
from torch import Tensor
from torchvision.transforms import CenterCrop, Compose
from torchvision.transforms import functional as F

MOST_VIEWS = 10


class AveragedViews:
    """The first of ten views: centre, centre mirrored, then the four corners, each followed by its mirror image.

    Args:
        transform: timm's evaluation transform, which crops the centre of a resized image.
        count: of views, 2 to 10.

    Raises:
        ValueError: another number of views.
    """

    def __init__(self, transform: Any, count: int):
        from timm.data.transforms import CenterCropOrPad

        if not 2 <= count <= MOST_VIEWS:
            raise ValueError(f"{count} views of an image: 2 to {MOST_VIEWS}")
        stages = transform.transforms
        position = next(
            number for number, stage in enumerate(stages) if isinstance(stage, (CenterCrop, CenterCropOrPad))
        )
        self.count, self.centre = count, stages[position]
        self.resize, self.finish = Compose(stages[:position]), Compose(stages[position + 1 :])

    def __call__(self, image: Image.Image) -> Tensor:
        """(count, C, H, W) float32."""
        image = self.resize(image)
        height, width = self.centre.size
        crops = [self.centre(image)]
        for top in (0, max(0, image.height - height)):
            for left in (0, max(0, image.width - width)):
                fits = image.height >= height and image.width >= width
                crops.append(F.crop(image, top, left, height, width) if fits else crops[0])
        views = [view for crop in crops for view in (crop, F.hflip(crop))]
        return torch.stack([self.finish(view) for view in views[: self.count]])
