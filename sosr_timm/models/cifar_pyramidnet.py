"""PyramidNets for 32x32 images (Han et al. 2017, arXiv 1610.02915): additive, of basic blocks."""

from __future__ import annotations

from typing import Any

import torch
import torch.nn.functional as F
from timm.layers import BatchNormAct2d, ConvNormAct, DropPath, calculate_drop_path_rates
from timm.models import generate_default_cfgs, register_model
from torch import Tensor, nn

from sosr_timm.models.staged import StagedNet, create_with_features
from sosr_timm.models.weights import cifar_cfg

__all__ = ["CifarPyramidNet"]

STAGES = 3


class PyramidBlock(nn.Module):
    """Batch norm before, between and after two 3x3 convolutions, one ReLU between them.

    The shortcut is averaged over 2x2 where the block strides, and filled up with channels of zeros.

    Args:
        in_chans: channels that come in.
        out_chans: channels that go out, no less.
        stride: of the first convolution.
        drop_path: rate at which the residual branch is dropped.
        **place: device and dtype.
    """

    def __init__(self, in_chans: int, out_chans: int, stride: int, drop_path: float, **place: Any):
        super().__init__()
        self.norm1 = nn.BatchNorm2d(in_chans, **place)
        self.conv1 = nn.Conv2d(in_chans, out_chans, 3, stride, padding=1, bias=False, **place)
        self.norm2 = BatchNormAct2d(out_chans, **place)
        self.conv2 = nn.Conv2d(out_chans, out_chans, 3, padding=1, bias=False, **place)
        self.norm3 = nn.BatchNorm2d(out_chans, **place)
        self.drop_path = DropPath(drop_path)
        # Odd sizes: the convolution rounds up, so the pooling must.
        self.pool = nn.AvgPool2d(2, ceil_mode=True, count_include_pad=False) if stride == 2 else nn.Identity()
        self.added = out_chans - in_chans

    def forward(self, x: Tensor) -> Tensor:
        residual = self.norm3(self.conv2(self.norm2(self.conv1(self.norm1(x)))))
        return F.pad(self.pool(x), (0, 0, 0, 0, 0, self.added)) + self.drop_path(residual)


class CifarPyramidNet(StagedNet):
    """A 3x3 stem of 16 channels and three stages, at strides 1, 2 and 4, whose every block is wider than the last.

    Args:
        depth: convolutions on the longest path and the classifier, 6n + 2.
        alpha: by how many channels the last block is wider than the stem; the steps to it are even.
        in_chans: channels of the images.
        drop_path_rate: of the last block; those before have less, linearly.
        device: where the parameters are made.
        dtype: their type.
        **options: what else `StagedNet` takes (`num_classes`, `global_pool`, `drop_rate`).
    """

    def __init__(
        self,
        depth: int,
        alpha: int,
        in_chans: int = 3,
        drop_path_rate: float = 0.0,
        device: torch.device | str | None = None,
        dtype: torch.dtype | None = None,
        **options: Any,
    ):
        if depth < 8 or depth % 6 != 2:
            raise ValueError(f"depth must be 6n + 2 (8, 14, 20, ..., 110, ...), not {depth}")
        place = {"device": device, "dtype": dtype}
        count = (depth - 2) // 6
        widths = [round(16 + alpha * block / (STAGES * count)) for block in range(STAGES * count + 1)]
        stages = []
        for stage, rates in enumerate(calculate_drop_path_rates(drop_path_rate, [count] * STAGES, stagewise=True)):
            blocks = []
            for block, rate in enumerate(rates, start=stage * count):
                stride = 2 if stage and block == stage * count else 1
                blocks.append(PyramidBlock(widths[block], widths[block + 1], stride, rate, **place))
            stages.append(nn.Sequential(*blocks))
        super().__init__(
            ConvNormAct(in_chans, 16, 3, apply_act=False, **place),
            stages,
            BatchNormAct2d(widths[-1], **place),
            channels=widths[::count],
            reductions=(1, 1, 2, 4),
            in_chans=in_chans,
            **place,
            **options,
        )


default_cfgs = generate_default_cfgs(
    {
        "cifar_pyramidnet_110_48.untrained": cifar_cfg(first_conv="stem.conv"),
        "cifar_pyramidnet_110_84.untrained": cifar_cfg(first_conv="stem.conv"),
    }
)


@register_model
def cifar_pyramidnet_110_48(pretrained: bool = False, **kwargs: Any) -> nn.Module:
    """PyramidNet-110, alpha 48: 1,778,556 parameters at 100 classes."""
    arguments = {"depth": 110, "alpha": 48, **kwargs}
    return create_with_features(CifarPyramidNet, "cifar_pyramidnet_110_48", pretrained, 1 + STAGES, **arguments)


@register_model
def cifar_pyramidnet_110_84(pretrained: bool = False, **kwargs: Any) -> nn.Module:
    """PyramidNet-110, alpha 84: 3,913,536 parameters at 100 classes."""
    arguments = {"depth": 110, "alpha": 84, **kwargs}
    return create_with_features(CifarPyramidNet, "cifar_pyramidnet_110_84", pretrained, 1 + STAGES, **arguments)
