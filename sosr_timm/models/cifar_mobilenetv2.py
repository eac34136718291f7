"""MobileNetV2 (Sandler et al. 2018, arXiv 1801.04381) for 32x32 images, in the form of a widely used CIFAR code.

It differs from the paper, and so from timm's: ReLU instead of ReLU6, an expansion layer in the first block too, and a
1x1 convolution with batch norm as shortcut where a block changes the width and does not stride.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import torch
from timm.layers import ConvNormAct, DropPath, calculate_drop_path_rates
from timm.models import generate_default_cfgs, register_model
from torch import Tensor, nn

from sosr_timm.models.staged import StagedNet, create_with_features
from sosr_timm.models.weights import cifar_cfg

__all__ = ["CifarMobileNetV2"]

# expansion, width, blocks, stride
STAGES = (
    ((1, 16, 1, 1), (6, 24, 2, 1)),
    ((6, 32, 3, 2),),
    ((6, 64, 4, 2), (6, 96, 3, 1)),
    ((6, 160, 3, 2), (6, 320, 1, 1)),
)


class InvertedBlock(nn.Module):
    """1x1 expansion, 3x3 depthwise convolution, 1x1 projection; a shortcut where the stride is 1.

    Args:
        in_chans: channels that come in.
        out_chans: channels that go out.
        stride: of the depthwise convolution.
        expansion: factor of the width between.
        drop_path: rate at which the residual branch is dropped.
        **place: device and dtype.
    """

    def __init__(self, in_chans: int, out_chans: int, stride: int, expansion: int, drop_path: float, **place: Any):
        super().__init__()
        width = in_chans * expansion
        self.expand = ConvNormAct(in_chans, width, 1, **place)
        self.depthwise = ConvNormAct(width, width, 3, stride, groups=width, **place)
        self.project = ConvNormAct(width, out_chans, 1, apply_act=False, **place)
        self.drop_path = DropPath(drop_path if stride == 1 else 0.0)
        self.shortcut = None
        if stride == 1:
            same = in_chans == out_chans
            self.shortcut = nn.Identity() if same else ConvNormAct(in_chans, out_chans, 1, apply_act=False, **place)

    def forward(self, x: Tensor) -> Tensor:
        residual = self.drop_path(self.project(self.depthwise(self.expand(x))))
        return residual if self.shortcut is None else self.shortcut(x) + residual


class CifarMobileNetV2(StagedNet):
    """A 3x3 stem of 32 channels, four stages at strides 1, 2, 4 and 8, a 1x1 convolution to 1,280 channels.

    Args:
        config: for each stage, rows of (expansion, width, blocks, stride of the first).
        head_width: channels of the last convolution.
        in_chans: channels of the images.
        drop_path_rate: of the last block; those before have less, linearly.
        device: where the parameters are made.
        dtype: their type.
        **options: what else `StagedNet` takes (`num_classes`, `global_pool`, `drop_rate`).
    """

    def __init__(
        self,
        config: Sequence[Sequence[tuple[int, int, int, int]]] = STAGES,
        head_width: int = 1280,
        in_chans: int = 3,
        drop_path_rate: float = 0.0,
        device: torch.device | str | None = None,
        dtype: torch.dtype | None = None,
        **options: Any,
    ):
        place = {"device": device, "dtype": dtype}
        channels, reductions, stages = [32], [1], []
        rates = iter(calculate_drop_path_rates(drop_path_rate, sum(row[2] for rows in config for row in rows)))
        width = reduction = 0
        for rows in config:
            blocks, width, reduction = [], channels[-1], reductions[-1]
            for expansion, out_chans, count, first_stride in rows:
                for block in range(count):
                    stride = 1 if block else first_stride
                    blocks.append(InvertedBlock(width, out_chans, stride, expansion, next(rates), **place))
                    width = out_chans
                reduction *= first_stride
            stages.append(nn.Sequential(*blocks))
            channels.append(width)
            reductions.append(reduction)
        super().__init__(
            ConvNormAct(in_chans, 32, 3, **place),
            stages,
            ConvNormAct(width, head_width, 1, **place),
            channels=(*channels[:-1], head_width),
            reductions=reductions,
            in_chans=in_chans,
            **place,
            **options,
        )


default_cfgs = generate_default_cfgs(
    {"cifar_mobilenetv2.untrained": cifar_cfg(first_conv="stem.conv", pool_size=(4, 4))}
)


@register_model
def cifar_mobilenetv2(pretrained: bool = False, **kwargs: Any) -> nn.Module:
    """MobileNetV2: 2,412,212 parameters at 100 classes."""
    return create_with_features(CifarMobileNetV2, "cifar_mobilenetv2", pretrained, 1 + len(STAGES), **kwargs)
