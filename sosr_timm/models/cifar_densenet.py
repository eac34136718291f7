"""DenseNets for 32x32 images (Huang et al. 2017, arXiv 1608.06993), BC form: timm's, after a 3x3 stem."""

from __future__ import annotations

from typing import Any

import torch
from timm.models import generate_default_cfgs, register_model
from timm.models.densenet import DenseNet
from torch import nn

from sosr_timm.models.staged import create_with_features
from sosr_timm.models.weights import cifar_cfg, initialise

__all__ = ["CifarDenseNet"]

FEATURES = 4  # the stem and three dense blocks


class CifarDenseNet(DenseNet):
    """timm's DenseNet with a 3x3 convolution for the stem, no batch norm or pooling after it; strides 1, 2 and 4.

    Args:
        growth_rate: channels that a layer adds.
        block_config: layers of each dense block.
        in_chans: channels of the images.
        device: where the parameters are made.
        dtype: their type.
        **options: what else timm's `DenseNet` takes (`num_classes`, `global_pool`, `drop_rate`, ...).
    """

    def __init__(
        self,
        growth_rate: int,
        block_config: tuple[int, ...],
        in_chans: int = 3,
        device: torch.device | str | None = None,
        dtype: torch.dtype | None = None,
        **options: Any,
    ):
        place = {"device": device, "dtype": dtype}
        super().__init__(growth_rate, block_config, in_chans=in_chans, **place, **options)
        self.features.conv0 = nn.Conv2d(in_chans, 2 * growth_rate, 3, padding=1, bias=False, **place)
        self.features.norm0 = nn.Identity()
        self.features.pool0 = nn.Identity()
        for index, feature in enumerate(self.feature_info):
            feature["reduction"] = max(feature["reduction"] // 4, 1) if index else 1
        initialise(self)


default_cfgs = generate_default_cfgs(
    {"cifar_densenet_100_12.untrained": cifar_cfg(first_conv="features.conv0", classifier="classifier")}
)


@register_model
def cifar_densenet_100_12(pretrained: bool = False, **kwargs: Any) -> nn.Module:
    """DenseNet-BC of 100 layers and growth rate 12: 800,032 parameters at 100 classes."""
    arguments = {"growth_rate": 12, "block_config": (16, 16, 16), **kwargs}
    return create_with_features(CifarDenseNet, "cifar_densenet_100_12", pretrained, FEATURES, **arguments)
