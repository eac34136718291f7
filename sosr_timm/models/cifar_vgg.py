"""VGG for 32x32 images (Simonyan & Zisserman 2014, arXiv 1409.1556), with batch norm and one linear classifier.

timm's `VGG` always has the two hidden layers of 4,096 units that this form leaves out.
"""

from __future__ import annotations

from collections.abc import Sequence
from functools import partial
from typing import Any

import torch
from timm.layers import ConvNormAct
from timm.models import generate_default_cfgs, register_model
from torch import nn

from sosr_timm.models.staged import StagedNet, create_with_features
from sosr_timm.models.weights import cifar_cfg

__all__ = ["CifarVgg"]

STAGES = 5


class CifarVgg(StagedNet):
    """Five stages of 3x3 convolutions with batch norm and ReLU, a 2x2 max pooling after each.

    Args:
        layers: convolutions of each stage; the first of the first stage is the stem.
        widths: of the stages.
        in_chans: channels of the images.
        device: where the parameters are made.
        dtype: their type.
        **options: what else `StagedNet` takes (`num_classes`, `global_pool`, `drop_rate`).
    """

    def __init__(
        self,
        layers: Sequence[int],
        widths: Sequence[int] = (64, 128, 256, 512, 512),
        in_chans: int = 3,
        device: torch.device | str | None = None,
        dtype: torch.dtype | None = None,
        **options: Any,
    ):
        convolution = partial(ConvNormAct, kernel_size=3, bias=True, device=device, dtype=dtype)
        stem, channels, stages = convolution(in_chans, widths[0]), widths[0], []
        for stage, (count, width) in enumerate(zip(layers, widths, strict=True)):
            blocks = [nn.MaxPool2d(2)] if stage else []
            for _ in range(count if stage else count - 1):
                blocks.append(convolution(channels, width))
                channels = width
            stages.append(nn.Sequential(*blocks))
        reductions = (1, *(2**stage for stage in range(len(widths) - 1)), 2 ** len(widths))
        super().__init__(
            stem,
            stages,
            nn.MaxPool2d(2),
            channels=(widths[0], *widths),
            reductions=reductions,
            in_chans=in_chans,
            device=device,
            dtype=dtype,
            **options,
        )


default_cfgs = generate_default_cfgs(
    {"cifar_vgg19_bn.untrained": cifar_cfg(first_conv="stem.conv", min_input_size=(3, 32, 32), pool_size=(1, 1))}
)


@register_model
def cifar_vgg19_bn(pretrained: bool = False, **kwargs: Any) -> nn.Module:
    """VGG-19 with batch norm: 20,086,692 parameters at 100 classes."""
    arguments = {"layers": (2, 2, 4, 4, 4), **kwargs}
    return create_with_features(CifarVgg, "cifar_vgg19_bn", pretrained, 1 + STAGES, **arguments)
