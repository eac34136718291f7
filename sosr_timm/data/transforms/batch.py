"""Augmentation of batches of small images on the device: pure functions of images and given random numbers."""

from __future__ import annotations

import math
from typing import NamedTuple

import torch
from torch import Tensor

from sosr_timm.data.order.seeding import SAMPLE, seed_words

ATTEMPTS = 10  # timm's random erasing looks this often for a box that fits
COLUMNS = ("top", "left", "hflip", "vflip", "erase", "erase_top", "erase_left")


class Draws(NamedTuple):
    """Uniform random numbers in [0, 1) of an epoch or, with rows chosen, of a batch.

    Attributes:
        uniform: (N, 7) float32, a column for each name in COLUMNS.
        boxes: (N, 10, 2) float32: area and aspect ratio of the boxes that random erasing tries.
        hole: (N, 2) float32: row and column of Cutout's centre.
    """

    uniform: Tensor
    boxes: Tensor
    hole: Tensor

    def rows(self, index: Tensor) -> Draws:
        return Draws(*(numbers[index] for numbers in self))

    def column(self, name: str) -> Tensor:
        return self.uniform[:, COLUMNS.index(name)]


def draw_epoch(num_samples: int, seed: int, epoch: int, device: torch.device) -> Draws:
    """The numbers of an epoch: a row depends on seed, epoch and the sample's position in the set alone."""
    generator = torch.Generator().manual_seed(seed_words(seed, SAMPLE, epoch)[0])
    uniform = torch.rand(num_samples, len(COLUMNS), generator=generator)
    boxes = torch.rand(num_samples, ATTEMPTS, 2, generator=generator)
    hole = torch.rand(num_samples, 2, generator=generator)
    return Draws(*(to_device(numbers, device) for numbers in (uniform, boxes, hole)))


def to_device(numbers: Tensor, device: torch.device) -> Tensor:
    """A tensor of the CPU on the device, without waiting for the copy: from pinned memory, which a GPU reads itself."""
    return numbers.pin_memory().to(device, non_blocking=True) if device.type == "cuda" else numbers.to(device)


def pad(images: Tensor, padding: int) -> Tensor:
    """(N, H, W, C) uint8 with `padding` black pixels on each side."""
    return torch.nn.functional.pad(images, (0, 0, padding, padding, padding, padding))


def crop_and_flip(
    padded: Tensor, index: Tensor, size: tuple[int, int], draws: Draws, hflip: float, vflip: float
) -> Tensor:
    """Random crops of padded images, flipped at random: one gather.

    Args:
        padded: (N, H + 2p, W + 2p, C) uint8.
        index: (M,) int64, which images.
        size: H, W of the crops in pixels.
        draws: of these images.
        hflip: probability of a horizontal flip.
        vflip: probability of a vertical flip.

    Returns:
        (M, C, H, W) uint8, in channels-last layout.
    """
    height, width = size
    rows = _line(draws.column("top"), padded.shape[1] - height, height, draws.column("vflip") < vflip)
    columns = _line(draws.column("left"), padded.shape[2] - width, width, draws.column("hflip") < hflip)
    return padded[index[:, None, None], rows[:, :, None], columns[:, None, :]].permute(0, 3, 1, 2)


def _line(uniform: Tensor, room: int, length: int, flipped: Tensor) -> Tensor:
    """(M, length) int64: positions start, start + 1, ... with start uniform in 0..room, backwards where flipped."""
    start = (uniform * (room + 1)).long().clamp_(max=room)
    line = torch.arange(length, device=uniform.device)
    return start[:, None] + torch.where(flipped[:, None], length - 1 - line, line)


def normalise(images: Tensor, mean: Tensor, std: Tensor) -> Tensor:
    """(M, C, H, W) uint8 -> float32: (images / 255 - mean) / std, rounded step by step as torchvision does it.

    Args:
        images: (M, C, H, W) uint8.
        mean: (C, 1, 1) float32.
        std: (C, 1, 1) float32.
    """
    return images.to(torch.float32).div_(255).sub_(mean).div_(std)


def erase(images: Tensor, draws: Draws, probability: float, fill: Tensor) -> Tensor:
    """Random erasing (Zhong et al. 2017, arXiv 1708.04896), distributed as timm's: a box of 2 % to a third of the area.

    Args:
        images: (M, C, H, W) float32, normalised.
        draws: of these images.
        probability: that an image gets a box.
        fill: broadcastable to (M, C, H, W): the content of the box.
    """
    height, width = images.shape[-2:]
    area = (0.02 + draws.boxes[..., 0] * (1 / 3 - 0.02)) * (height * width)
    aspect = torch.exp(math.log(0.3) * (1 - 2 * draws.boxes[..., 1]))
    heights, widths = torch.sqrt(area * aspect).round(), torch.sqrt(area / aspect).round()
    fits = (heights < height) & (widths < width)
    first = fits.to(torch.int8).argmax(dim=1, keepdim=True)
    box_height, box_width = heights.gather(1, first), widths.gather(1, first)
    erased = (draws.column("erase") <= probability)[:, None] & fits.gather(1, first)
    inside_rows = _inside(draws.column("erase_top"), box_height, height)
    inside_columns = _inside(draws.column("erase_left"), box_width, width)
    mask = (erased & inside_rows)[:, None, :, None] & inside_columns[:, None, None, :]
    return torch.where(mask, fill, images)


def cutout(images: Tensor, centres: Tensor, side: int) -> Tensor:
    """Cutout (DeVries and Taylor 2017, arXiv 1708.04552): a square of zeros around a uniform pixel, cut at the border.

    Args:
        images: (M, C, H, W) float32, normalised, so that zero is the mean.
        centres: (M, 2) uniform in [0, 1): row and column of the centre.
        side: of the square in pixels; with an even one the centre is the first pixel of its second half.
    """
    masks = []
    for uniform, size in zip(centres.unbind(dim=1), images.shape[-2:], strict=True):
        first = (uniform * size).long().clamp_(max=size - 1)[:, None] - side // 2
        position = torch.arange(size, device=images.device)
        masks.append((position >= first) & (position < first + side))
    return images.masked_fill(masks[0][:, None, :, None] & masks[1][:, None, None, :], 0.0)


def _inside(uniform: Tensor, length: Tensor, size: int) -> Tensor:
    """(M, size) bool: whether a position is in an interval of (M, 1) `length` that starts uniformly where it fits."""
    start = (uniform[:, None] * (size - length + 1)).floor().clamp(max=size - 1)
    position = torch.arange(size, device=uniform.device)
    return (position >= start) & (position < start + length)
