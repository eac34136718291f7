"""Wide ResNets for 32x32 images (Zagoruyko & Komodakis 2016, arXiv 1605.07146), without their dropout."""

from __future__ import annotations

from typing import Any

import torch
from timm.layers import BatchNormAct2d, DropPath, calculate_drop_path_rates
from timm.models import generate_default_cfgs, register_model
from torch import Tensor, nn

from sosr_timm.models.staged import StagedNet, create_with_features
from sosr_timm.models.weights import cifar_cfg

__all__ = ["CifarWideResNet"]

STAGES = 3


class WideBlock(nn.Module):
    """Two 3x3 convolutions, each after batch norm and ReLU; where the width changes, a 1x1 convolution of the
    activated input is the shortcut.

    Args:
        in_chans: channels that come in.
        out_chans: channels that go out.
        stride: of the first convolution.
        drop_path: rate at which the residual branch is dropped.
        **place: device and dtype.
    """

    def __init__(self, in_chans: int, out_chans: int, stride: int, drop_path: float, **place: Any):
        super().__init__()
        self.norm1 = BatchNormAct2d(in_chans, **place)
        self.conv1 = nn.Conv2d(in_chans, out_chans, 3, stride, padding=1, bias=False, **place)
        self.norm2 = BatchNormAct2d(out_chans, **place)
        self.conv2 = nn.Conv2d(out_chans, out_chans, 3, padding=1, bias=False, **place)
        self.drop_path = DropPath(drop_path)
        changes = stride != 1 or in_chans != out_chans
        self.shortcut = nn.Conv2d(in_chans, out_chans, 1, stride, bias=False, **place) if changes else None

    def forward(self, x: Tensor) -> Tensor:
        activated = self.norm1(x)
        shortcut = x if self.shortcut is None else self.shortcut(activated)
        return shortcut + self.drop_path(self.conv2(self.norm2(self.conv1(activated))))


class CifarWideResNet(StagedNet):
    """A 3x3 stem of 16 channels and three stages, at strides 1, 2 and 4, then batch norm and ReLU.

    Args:
        depth: convolutions on the longest path and the classifier, 6n + 4.
        width: factor of the widths 16, 32 and 64.
        in_chans: channels of the images.
        drop_path_rate: of the last block; those before have less, linearly.
        device: where the parameters are made.
        dtype: their type.
        **options: what else `StagedNet` takes (`num_classes`, `global_pool`, `drop_rate`).
    """

    def __init__(
        self,
        depth: int,
        width: int,
        in_chans: int = 3,
        drop_path_rate: float = 0.0,
        device: torch.device | str | None = None,
        dtype: torch.dtype | None = None,
        **options: Any,
    ):
        if depth < 10 or depth % 6 != 4:
            raise ValueError(f"depth must be 6n + 4 (10, 16, 22, 28, ...), not {depth}")
        place = {"device": device, "dtype": dtype}
        channels, stages = [16], []
        rates = calculate_drop_path_rates(drop_path_rate, [(depth - 4) // 6] * STAGES, stagewise=True)
        for stage, stage_rates in enumerate(rates):
            out_chans, blocks = 16 * 2**stage * width, []
            for block, rate in enumerate(stage_rates):
                stride = 2 if stage and not block else 1
                blocks.append(WideBlock(out_chans if block else channels[-1], out_chans, stride, rate, **place))
            stages.append(nn.Sequential(*blocks))
            channels.append(out_chans)
        super().__init__(
            nn.Conv2d(in_chans, 16, 3, padding=1, bias=False, **place),
            stages,
            BatchNormAct2d(channels[-1], **place),
            channels=channels,
            reductions=(1, 1, 2, 4),
            in_chans=in_chans,
            **place,
            **options,
        )


default_cfgs = generate_default_cfgs({"cifar_wrn_28_10.untrained": cifar_cfg(first_conv="stem")})


@register_model
def cifar_wrn_28_10(pretrained: bool = False, **kwargs: Any) -> nn.Module:
    """WRN-28-10: 36,536,884 parameters at 100 classes."""
    arguments = {"depth": 28, "width": 10, **kwargs}
    return create_with_features(CifarWideResNet, "cifar_wrn_28_10", pretrained, 1 + STAGES, **arguments)
