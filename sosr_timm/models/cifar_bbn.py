"""ResNet-32 for long-tailed CIFAR (Zhou et al. 2020, arXiv 1912.02413): its last block exists twice, side by side.

The form that MaxSup's long-tail experiments take over, which use the two blocks as one of 128 channels. Shortcuts take
every second pixel and pad with channels of zeros where the shape changes (option A of He et al. 2016).
"""

from __future__ import annotations

from typing import Any

import torch
import torch.nn.functional as F
from timm.layers import ConvNormAct, DropPath, calculate_drop_path_rates
from timm.models import generate_default_cfgs, register_model
from timm.models.resnet import BasicBlock
from torch import Tensor, nn

from sosr_timm.models.staged import StagedNet, create_with_features
from sosr_timm.models.weights import cifar_cfg

__all__ = ["CifarBbnResNet"]

WIDTHS = (16, 32, 64)


class PaddedShortcut(nn.Module):
    """Every second pixel, half of the missing channels as zeros in front, half behind."""

    def __init__(self, in_chans: int, out_chans: int):
        super().__init__()
        self.front = (out_chans - in_chans) // 2
        self.behind = out_chans - in_chans - self.front

    def forward(self, x: Tensor) -> Tensor:
        return F.pad(x[:, :, ::2, ::2], (0, 0, 0, 0, self.front, self.behind))


class TwinBlocks(nn.Module):
    """Two basic blocks on the same input, with concatenated outputs."""

    def __init__(self, channels: int, drop_path: float, **place: Any):
        super().__init__()
        self.first = BasicBlock(channels, channels, drop_path=DropPath(drop_path), **place)
        self.second = BasicBlock(channels, channels, drop_path=DropPath(drop_path), **place)

    def forward(self, x: Tensor) -> Tensor:
        # A block adds its shortcut in place to its own output, never to its input.
        return torch.cat((self.first(x), self.second(x)), dim=1)


class CifarBbnResNet(StagedNet):
    """A 3x3 stem of 16 channels and three stages of basic blocks, at strides 1, 2 and 4; the last block twice.

    Args:
        blocks: of each stage.
        in_chans: channels of the images.
        drop_path_rate: of the last block; those before have less, linearly.
        device: where the parameters are made.
        dtype: their type.
        **options: what else `StagedNet` takes (`num_classes`, `global_pool`, `drop_rate`).
    """

    def __init__(
        self,
        blocks: int,
        in_chans: int = 3,
        drop_path_rate: float = 0.0,
        device: torch.device | str | None = None,
        dtype: torch.dtype | None = None,
        **options: Any,
    ):
        place = {"device": device, "dtype": dtype}
        width, stages = WIDTHS[0], []
        for out_chans, rates in zip(
            WIDTHS, calculate_drop_path_rates(drop_path_rate, [blocks] * len(WIDTHS), stagewise=True), strict=True
        ):
            stage = []
            for rate in rates:
                changes = width != out_chans
                shortcut = PaddedShortcut(width, out_chans) if changes else None
                stride = 2 if changes else 1
                stage.append(BasicBlock(width, out_chans, stride, shortcut, drop_path=DropPath(rate), **place))
                width = out_chans
            stages.append(stage)
        stages[-1][-1] = TwinBlocks(width, drop_path_rate, **place)
        super().__init__(
            ConvNormAct(in_chans, WIDTHS[0], 3, **place),
            [nn.Sequential(*stage) for stage in stages],
            nn.Identity(),
            channels=(WIDTHS[0], *WIDTHS[:-1], 2 * width),
            reductions=(1, 1, 2, 4),
            in_chans=in_chans,
            **place,
            **options,
        )


default_cfgs = generate_default_cfgs({"cifar_resnet32.untrained": cifar_cfg(num_classes=10, first_conv="stem.conv")})


@register_model
def cifar_resnet32(pretrained: bool = False, **kwargs: Any) -> nn.Module:
    """ResNet-32 of basic blocks, the last one twice: 550,388 parameters at 100 classes."""
    arguments = {"blocks": 5, **kwargs}
    return create_with_features(CifarBbnResNet, "cifar_resnet32", pretrained, 1 + len(WIDTHS), **arguments)
