"""Augmentation policies that timm does not have: torchvision's by name, and learned ones from a file."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import torch
import yaml
from PIL import Image, ImageDraw
from timm.data import auto_augment
from torchvision.transforms import AutoAugment, AutoAugmentPolicy, RandAugment, TrivialAugmentWide

from sosr_timm.errors import UserError, one_line
from sosr_timm.registry import close_names

# Cubuk et al. 2019, arXiv 1805.09501
AUTO_AUGMENT = {
    "cifar10": AutoAugmentPolicy.CIFAR10,
    "imagenet": AutoAugmentPolicy.IMAGENET,
    "svhn": AutoAugmentPolicy.SVHN,
}
# What torchvision's training reference calls them: Cubuk et al. 2020, arXiv 1909.13719; Müller and Hutter 2021, arXiv
# 2103.10158. Both have the defaults of torchvision's classes.
WITHOUT_SEARCH = {"ra": RandAugment, "ta_wide": TrivialAugmentWide}
FILE_ENDINGS = (".yaml", ".yml")

Operation = tuple[str, float, float]


def learned_policy(name: str | None) -> Callable[[Image.Image], Image.Image] | None:
    """The policy of a name of torchvision's or of a file; None for timm's own names.

    Raises:
        UserError: a file that cannot be read or holds no policy.
    """
    if name in AUTO_AUGMENT:
        return AutoAugment(AUTO_AUGMENT[name])
    if name in WITHOUT_SEARCH:
        return WITHOUT_SEARCH[name]()
    if name and name.endswith(FILE_ENDINGS):
        return FilePolicy(read_policy(Path(name)))
    return None


def _mirrored(function: Callable[..., Image.Image]) -> Callable[[Image.Image, float], Image.Image]:
    """Geometry goes either way, each as likely; what comes in from outside is black, pixels are the nearest ones."""

    def apply(image: Image.Image, value: float) -> Image.Image:
        value = -value if torch.rand(()) < 0.5 else value
        return function(image, value, resample=Image.Resampling.NEAREST, fillcolor=0)

    return apply


def _cut_out(image: Image.Image, share: float) -> Image.Image:
    """A square of a side of `share` of the width, its centre anywhere in the image, in ImageNet's mean colour."""
    if share <= 0:
        return image
    width, height = image.size
    side = share * width
    left, top = (torch.rand(2) * torch.tensor([width, height]) - side / 2).clamp(min=0).int().tolist()
    image = image.copy()
    color = (125, 123, 114) if image.mode == "RGB" else 123
    ImageDraw.Draw(image).rectangle((left, top, min(width, left + side), min(height, top + side)), color)
    return image


# Lim et al. 2019, arXiv 1905.00397: what a level of 0 and one of 1 mean, as in the authors' code.
OPERATIONS: dict[str, tuple[Callable[[Image.Image, float], Image.Image], float, float]] = {
    "ShearX": (_mirrored(auto_augment.shear_x), -0.3, 0.3),
    "ShearY": (_mirrored(auto_augment.shear_y), -0.3, 0.3),
    "TranslateX": (_mirrored(auto_augment.translate_x_rel), -0.45, 0.45),
    "TranslateY": (_mirrored(auto_augment.translate_y_rel), -0.45, 0.45),
    "Rotate": (_mirrored(auto_augment.rotate), -30, 30),
    "AutoContrast": (lambda image, value: auto_augment.auto_contrast(image), 0, 1),
    "Invert": (lambda image, value: auto_augment.invert(image), 0, 1),
    "Equalize": (lambda image, value: auto_augment.equalize(image), 0, 1),
    "Solarize": (auto_augment.solarize, 0, 256),
    "Posterize": (lambda image, value: auto_augment.posterize(image, int(value)), 4, 8),
    "Contrast": (auto_augment.contrast, 0.1, 1.9),
    "Color": (auto_augment.color, 0.1, 1.9),
    "Brightness": (auto_augment.brightness, 0.1, 1.9),
    "Sharpness": (auto_augment.sharpness, 0.1, 1.9),
    "Cutout": (_cut_out, 0, 0.2),
}


class FilePolicy:
    """One sub-policy for each image, each as likely; each of its operations with its own probability.

    It draws on torch's random numbers, so it is seeded for each sample like every other transform.

    Args:
        sub_policies: from `read_policy`.
    """

    def __init__(self, sub_policies: list[tuple[Operation, ...]]):
        self.sub_policies = sub_policies

    def __call__(self, image: Image.Image) -> Image.Image:
        chosen = self.sub_policies[int(torch.randint(len(self.sub_policies), ()))]
        for name, probability, level in chosen:
            if torch.rand(()) < probability:
                function, low, high = OPERATIONS[name]
                image = function(image, low + level * (high - low))
        return image


def read_policy(path: Path) -> list[tuple[Operation, ...]]:
    """The sub-policies of a YAML file: a list of lists of [operation, probability, level], the numbers in [0, 1].

    Raises:
        UserError: the file cannot be read, or the entry that is wrong.
    """
    try:
        content = yaml.safe_load(path.read_text(encoding="utf-8"))
    except (OSError, ValueError, yaml.YAMLError, RecursionError) as error:
        raise UserError(f"--aa {path} cannot be read ({one_line(error)})") from None
    return check_policy(content, f"--aa {path}")


def check_policy(content: Any, title: str) -> list[tuple[Operation, ...]]:
    """`content` as sub-policies.

    Raises:
        UserError: it is none; the line starts with `title` and names the first entry that is wrong.
    """
    if not isinstance(content, list) or not content:
        raise UserError(f"{title} does not hold a list of sub-policies")
    policy = []
    for number, entries in enumerate(content, start=1):
        if not isinstance(entries, (list, tuple)) or not entries:
            raise UserError(f"{title}: sub-policy {number} is not a list of operations")
        policy.append(tuple(_checked(entry, f"{title}: sub-policy {number}") for entry in entries))
    return policy


def _checked(entry: Any, where: str) -> Operation:
    if not isinstance(entry, (list, tuple)) or len(entry) != 3 or not isinstance(entry[0], str):
        raise UserError(f"{where}: {entry!r} is not [operation, probability, level]")
    name, *numbers = entry
    if name not in OPERATIONS:
        raise UserError(f"{where}: unknown operation '{name}': {close_names(name, OPERATIONS)}")
    for number in numbers:
        if isinstance(number, bool) or not isinstance(number, (int, float)) or not 0 <= number <= 1:
            raise UserError(f"{where}: {number!r} in {name} is not a number in [0, 1]")
    return name, float(numbers[0]), float(numbers[1])
