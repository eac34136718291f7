"""Image transforms of training and evaluation, built from timm's."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import torch
from PIL import Image
from torch import Tensor
from torchvision import transforms

from sosr_timm.data.transforms.aug_splits import split_stages
from sosr_timm.data.transforms.batch import cutout
from sosr_timm.data.transforms.learned_policies import FilePolicy, learned_policy
from sosr_timm.data.transforms.timm_policies import allow_zero_bits

Transform = Callable[[Image.Image], Tensor]


@dataclass(frozen=True)
class ImageFormat:
    """The format of the images that a model sees.

    Attributes:
        channels: of the tensor.
        height: in pixels.
        width: in pixels.
        mean: of the pixels in [0, 1], a value per channel.
        std: of the pixels in [0, 1], a value per channel.
        interpolation: of resizing ("bilinear", "bicubic", ...).
        crop_pct: share of the shorter side that the evaluation crop keeps.
        crop_mode: timm's name of the evaluation crop ("center", "squash", "border").
        image_mode: PIL mode images are converted to.
    """

    channels: int
    height: int
    width: int
    mean: tuple[float, ...]
    std: tuple[float, ...]
    interpolation: str
    crop_pct: float
    crop_mode: str
    image_mode: str

    @property
    def input_size(self) -> tuple[int, int, int]:
        return (self.channels, self.height, self.width)


def evaluation_transform(
    image_format: ImageFormat, crop_border_pixels: int | None = None, as_bytes: bool = False
) -> Transform:
    """PIL image -> (C, H, W) float32, normalised; timm's evaluation transform.

    Args:
        image_format: of the tensors.
        crop_border_pixels: to cut off each edge before anything else.
        as_bytes: give uint8 instead, not normalised.
    """
    from timm.data import create_transform

    transform = create_transform(
        image_format.input_size,
        is_training=False,
        interpolation=image_format.interpolation,
        mean=image_format.mean,
        std=image_format.std,
        crop_pct=image_format.crop_pct,
        crop_mode=image_format.crop_mode,
        normalize=not as_bytes,
    )
    if crop_border_pixels:
        transform.transforms.insert(0, Border(crop_border_pixels))
    return transform


class Border:
    """Cut pixels off each edge of an image.

    Args:
        pixels: to cut off.

    Raises:
        OSError: on an image that has no more than them, which counts as unreadable.
    """

    def __init__(self, pixels: int):
        self.pixels = pixels

    def __call__(self, image: Image.Image) -> Image.Image:
        right, bottom = image.width - self.pixels, image.height - self.pixels
        if min(right, bottom) <= self.pixels:
            raise OSError(f"--crop-border-pixels {self.pixels} leaves nothing of {image.width} x {image.height} pixels")
        return image.crop((self.pixels, self.pixels, right, bottom))


def training_transform(
    image_format: ImageFormat,
    crop_padding: int | None,
    cutout_side: int | None = None,
    *,
    resize: int | None = None,
    splits: int = 0,
    resplit: bool = False,
    as_bytes: bool = False,
    **augmentation: Any,
) -> Transform:
    """PIL image -> (C, H, W) float32, augmented and normalised.

    Args:
        image_format: of the tensors.
        crop_padding: None: timm's training transform (random resized crop). A number of pixels: the CIFAR recipe,
            a random crop after zero padding, without colour jitter (He et al. 2016, section 4.2).
        cutout_side: of Cutout's square in pixels, None without Cutout; it comes last.
        resize: the recipe of fine-grained sets: images become squares of this side, whatever their shape, before the
            random crop (padded by `crop_padding`, by nothing where it is None), without colour jitter.
        splits: 0, or this many views of the image, the first one without augmentation: (splits, C, H, W).
        resplit: no random erasing in the first of these views.
        as_bytes: give uint8 instead, not normalised; for what ends with normalising, so not with Cutout or erasing.
        augmentation: arguments of `timm.data.create_transform` (hflip, auto_augment, re_prob, ...), `auto_augment` also
            a name or file of `learned_policies`; with `no_aug` the
            image is only resized and cropped at its centre.

    Raises:
        ValueError: an augmentation timm does not know, a negative padding, a square of no pixels, images resized to
            less than the crop, or views that would all be alike.
    """
    from timm.data import create_transform

    common = {"mean": image_format.mean, "std": image_format.std, "is_training": True, "normalize": not as_bytes}
    if augmentation.get("no_aug"):
        return create_transform(image_format.input_size, **common, **augmentation)
    if not augmentation.get("color_jitter"):
        # timm makes a jitter of strength 0 too, which leaves images as they are and takes a fifth of the time.
        augmentation = {**augmentation, "color_jitter": None}
    crop = _random_crop(image_format, crop_padding, resize)
    if crop:
        augmentation = {**augmentation, "color_jitter": None, "train_crop_mode": None, "scale": None, "ratio": None}
    policy = learned_policy(augmentation.get("auto_augment"))
    if policy is not None:
        # Colour jitter stays off, as with timm's policies.
        augmentation = {**augmentation, "auto_augment": None, "color_jitter": None}
    stages = create_transform(image_format.input_size, separate=True, **common, **augmentation)
    if crop:
        # timm's first stage is the resized crop, then the flips; only the crop is replaced.
        stages[0].transforms[:1] = crop
    for stage in stages[1].transforms:
        allow_zero_bits(stage)
    if isinstance(policy, FilePolicy) and not splits:
        # Where Fast AutoAugment's authors have it: on the image of full size, before crop and flip.
        stages[0].transforms.insert(1 if crop else 0, policy)
    elif policy is not None:
        stages[1].transforms.insert(0, policy)
    if cutout_side is not None:
        stages[2].transforms.append(Cutout(cutout_side))
    if splits:
        return split_stages(stages, splits, resplit)
    return transforms.Compose([step for stage in stages for step in stage.transforms])


def _random_crop(image_format: ImageFormat, padding: int | None, resize: int | None) -> list[Callable]:
    """The crop that replaces timm's; nothing where neither padding nor size is given."""
    if padding is None and resize is None:
        return []
    if padding is not None and padding < 0:
        raise ValueError(f"a padding of {padding} pixels")
    size = (image_format.height, image_format.width)
    if resize is not None and resize < max(size):
        raise ValueError(f"images resized to {resize} pixels, crops of {max(size)}")
    fitted = size if resize is None else (resize, resize)
    return [_FitTo(fitted, image_format.interpolation), transforms.RandomCrop(size, padding=padding or 0)]


class Cutout:
    """Cutout of one normalised image, (C, H, W), by torch's random numbers.

    Args:
        side: of the square in pixels.

    Raises:
        ValueError: less than one pixel.
    """

    def __init__(self, side: int):
        if side < 1:
            raise ValueError(f"a cut-out square of {side} pixels")
        self.side = side

    def __call__(self, image: Tensor) -> Tensor:
        return cutout(image[None], torch.rand(1, 2), self.side)[0]


class _FitTo:
    """Resize an image unless it has the size already."""

    def __init__(self, size: tuple[int, int], interpolation: str):
        self.size = size
        self.resize = transforms.Resize(size, transforms.InterpolationMode(interpolation))

    def __call__(self, image: Image.Image) -> Image.Image:
        return image if image.size == self.size[::-1] else self.resize(image)
