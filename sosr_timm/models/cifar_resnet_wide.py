"""ResNets of ImageNet's depths and widths on 32x32 images: four stages of 64 to 512 channels after a 3x3 stem."""

from __future__ import annotations

from typing import Any

from timm.models import generate_default_cfgs, register_model
from timm.models.resnet import BasicBlock, Bottleneck
from torch import nn

from sosr_timm.models.cifar_resnet import create_cifar_resnet
from sosr_timm.models.weights import cifar_cfg

__all__ = []  # filled by timm's decorator

WIDTHS = (64, 128, 256, 512)

default_cfgs = generate_default_cfgs(
    {
        "cifar_resnet18.untrained": cifar_cfg(pool_size=(4, 4)),
        "cifar_resnet34.untrained": cifar_cfg(pool_size=(4, 4)),
        "cifar_resnet50.untrained": cifar_cfg(pool_size=(4, 4)),
        "cifar_resnet101.untrained": cifar_cfg(pool_size=(4, 4)),
    }
)


@register_model
def cifar_resnet18(pretrained: bool = False, **kwargs: Any) -> nn.Module:
    """ResNet-18: 11,220,132 parameters at 100 classes."""
    arguments = {"block": BasicBlock, "layers": (2, 2, 2, 2), "channels": WIDTHS, **kwargs}
    return create_cifar_resnet("cifar_resnet18", pretrained, **arguments)


@register_model
def cifar_resnet34(pretrained: bool = False, **kwargs: Any) -> nn.Module:
    """ResNet-34: 21,328,292 parameters at 100 classes."""
    arguments = {"block": BasicBlock, "layers": (3, 4, 6, 3), "channels": WIDTHS, **kwargs}
    return create_cifar_resnet("cifar_resnet34", pretrained, **arguments)


@register_model
def cifar_resnet50(pretrained: bool = False, **kwargs: Any) -> nn.Module:
    """ResNet-50: 23,705,252 parameters at 100 classes."""
    arguments = {"block": Bottleneck, "layers": (3, 4, 6, 3), "channels": WIDTHS, **kwargs}
    return create_cifar_resnet("cifar_resnet50", pretrained, **arguments)


@register_model
def cifar_resnet101(pretrained: bool = False, **kwargs: Any) -> nn.Module:
    """ResNet-101: 42,697,380 parameters at 100 classes."""
    arguments = {"block": Bottleneck, "layers": (3, 4, 23, 3), "channels": WIDTHS, **kwargs}
    return create_cifar_resnet("cifar_resnet101", pretrained, **arguments)
