"""Initial weights, and timm's configuration of published and shipped weights."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import timm.models
import torch
from timm.data import IMAGENET_DEFAULT_MEAN, IMAGENET_DEFAULT_STD
from torch import nn

HUB_ORGANISATION = "sosr-timm"  # owner of the Hub entries; named only here
PUBLISHED: tuple[str, ...] = ()  # the Hub entries with published weights
CIFAR_MEAN = (0.4914, 0.4822, 0.4465)  # of CIFAR-10; the SOSR authors use them for CIFAR-100 too
CIFAR_STD = (0.2023, 0.1994, 0.2010)
SHIPPED = Path(__file__).parent / "shipped"  # folders in timm's Hub format that come with this package


class WeightsNotFoundError(RuntimeError):
    """The weights of one of our models are not on the Hub; the message says how to make and publish them."""


def timm_architecture(name: str) -> str:
    """timm's name of an architecture: `resnet50` for our entry `sosr_resnet50`; other names stay."""
    return name.removeprefix("sosr_")


def needs_this_package(architecture: str) -> bool:
    """Whether only this package has the model."""
    return timm.models.model_entrypoint(architecture).__module__.partition(".")[0] == "sosr_timm"


def hub_id(variant: str, tag: str) -> str:
    """The Hub repository of a model, as `organisation/sosr_resnet50.in1k`."""
    return f"{HUB_ORGANISATION}/{variant}.{tag}"


def imagenet_cfg(variant: str, **changes: Any) -> dict[str, Any]:
    """timm's `pretrained_cfg` for weights trained on ImageNet at 224 pixels, tested on the center crop of 256."""
    return {
        "hf_hub_id": hub_id(variant, "in1k"),
        "num_classes": 1000,
        "input_size": (3, 224, 224),
        "pool_size": (7, 7),
        "crop_pct": 0.875,
        "interpolation": "bilinear",
        "mean": IMAGENET_DEFAULT_MEAN,
        "std": IMAGENET_DEFAULT_STD,
        "first_conv": "conv1",
        "classifier": "fc",
        "license": "apache-2.0",
        **changes,
    }


def cifar_cfg(**changes: Any) -> dict[str, Any]:
    """timm's `pretrained_cfg` for a model of 32x32 images, without published weights."""
    return {
        "num_classes": 100,
        "input_size": (3, 32, 32),
        "min_input_size": (3, 8, 8),
        "pool_size": (8, 8),
        "crop_pct": 1.0,
        "interpolation": "bilinear",
        "mean": CIFAR_MEAN,
        "std": CIFAR_STD,
        "first_conv": "conv1",
        "classifier": "fc",
        "license": "apache-2.0",
        **changes,
    }


@torch.no_grad()
def initialise(model: nn.Module) -> None:
    """Initialize a model as the SOSR authors' CIFAR code does: convolutions from N(0, sqrt(2 / (k * k * c_out))).

    c_out counts the channels of one group. Biases of convolutions start from 0, classifiers as torch has them; batch
    norms are left as they are.
    """
    for module in model.modules():
        if isinstance(module, nn.Conv2d):
            height, width = module.kernel_size
            fan_out = height * width * module.out_channels // module.groups
            module.weight.normal_(0.0, (2 / fan_out) ** 0.5)
            if module.bias is not None:
                module.bias.zero_()
        elif isinstance(module, nn.Linear):
            module.reset_parameters()


def shipped_cfg(name: str) -> dict[str, Any]:
    """timm's `pretrained_cfg` for weights shipped with this package, from their config.json.

    Args:
        name: of the folder in `SHIPPED`, as `cifar_resnet20.sosr_fashion_mnist`.
    """
    config = json.loads((SHIPPED / name / "config.json").read_text(encoding="utf-8"))
    stored = {
        key: tuple(value) if isinstance(value, list) else value for key, value in config["pretrained_cfg"].items()
    }
    return {
        **stored,
        "num_classes": config["num_classes"],
        "label_names": tuple(config["label_names"]),
        "file": str(SHIPPED / name / "model.safetensors"),
    }
