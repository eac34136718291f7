"""MobileNet (Howard et al. 2017, arXiv 1704.04861) for 32x32 images: timm's, with a stem of stride 1."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from timm.models import generate_default_cfgs, register_model
from timm.models._efficientnet_builder import decode_arch_def
from timm.models.efficientnet import EfficientNet
from torch import nn

from sosr_timm.models.staged import create_with_features
from sosr_timm.models.weights import cifar_cfg, initialise

__all__ = ["CifarMobileNet"]

BLOCKS = ("dsa_r1_k3_s1_c64", "dsa_r2_k3_s2_c128", "dsa_r2_k3_s2_c256", "dsa_r6_k3_s2_c512", "dsa_r2_k3_s2_c1024")


class CifarMobileNet(EfficientNet):
    """A 3x3 stem of 32 channels and thirteen depthwise separable convolutions, at strides 1, 2, 4, 8 and 16.

    Args:
        blocks: of each stage, in timm's notation.
        **options: what else timm's `EfficientNet` takes (`num_classes`, `in_chans`, `global_pool`, `drop_rate`, ...).
    """

    def __init__(self, blocks: Sequence[str] = BLOCKS, **options: Any):
        arguments = {"num_features": 0, "fix_stem": True, "act_layer": nn.ReLU, **options}
        super().__init__(decode_arch_def([[block] for block in blocks]), **arguments)
        self.conv_stem.stride = (1, 1)
        for feature in self.feature_info:
            feature["reduction"] //= 2
        initialise(self)


default_cfgs = generate_default_cfgs(
    {
        "cifar_mobilenet.untrained": cifar_cfg(first_conv="conv_stem", classifier="classifier", pool_size=(2, 2)),
    }
)


@register_model
def cifar_mobilenet(pretrained: bool = False, **kwargs: Any) -> nn.Module:
    """MobileNet: 3,309,476 parameters at 100 classes."""
    return create_with_features(CifarMobileNet, "cifar_mobilenet", pretrained, len(BLOCKS), **kwargs)
