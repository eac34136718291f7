"""RegNetX (Radosavovic et al. 2020, arXiv 2003.13678) for 32x32 images: timm's, with other strides and a wider stem."""

from __future__ import annotations

from typing import Any

from timm.models import generate_default_cfgs, register_model
from timm.models.regnet import RegNet, RegNetCfg
from torch import nn

from sosr_timm.models.staged import create_with_features
from sosr_timm.models.weights import cifar_cfg, initialise

__all__ = ["CifarRegNet"]

FEATURES = 5  # the stem and four stages


class CifarRegNet(RegNet):
    """timm's RegNet with stride 1 in the stem and the first two stages: strides 1, 1, 1, 2 and 4.

    Args:
        cfg: timm's description of the model.
        zero_init_last: start each block as the identity; the authors do not.
        **options: what else timm's `RegNet` takes (`num_classes`, `in_chans`, `global_pool`, `drop_rate`, ...).
    """

    def __init__(self, cfg: RegNetCfg, zero_init_last: bool = False, **options: Any):
        super().__init__(cfg, zero_init_last=zero_init_last, **options)
        for block in (self.s1.b1, self.s2.b1):
            block.conv2.conv.stride = block.downsample.conv.stride = (1, 1)
        self.stem.conv.stride = (1, 1)
        for feature in self.feature_info:
            feature["reduction"] = max(feature["reduction"] // 8, 1)
        initialise(self)


default_cfgs = generate_default_cfgs(
    {"cifar_regnetx_200mf.untrained": cifar_cfg(first_conv="stem.conv", classifier="head.fc")}
)


@register_model
def cifar_regnetx_200mf(pretrained: bool = False, **kwargs: Any) -> nn.Module:
    """RegNetX-200MF, widths 24, 56, 152 and 368: 2,355,156 parameters at 100 classes."""
    config = RegNetCfg(w0=24, wa=36.44, wm=2.49, group_size=8, depth=13, stem_width=64)
    arguments = {"cfg": config, **kwargs}
    return create_with_features(CifarRegNet, "cifar_regnetx_200mf", pretrained, FEATURES, **arguments)
