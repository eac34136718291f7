"""ResNets for 32x32 images (He et al. 2016, arXiv 1512.03385, section 4.2), in the form the SOSR authors train.

timm's `ResNet` differs only in its stem and its number of stages, so it is subclassed: blocks, initialisation,
head, checkpointing and parameter groups are timm's, the 7x7 convolution and the pooling become one small convolution,
and the fourth stage is empty where three are asked for. Shortcuts are the identity, and a 1x1 projection with batch
norm where the shape changes, in basic blocks too (option B of the paper; its own CIFAR models pad with zeros, option
A, which has 2,752 parameters less at depth 20). Convolutions start from a normal distribution of standard deviation
sqrt(2 / (k * k * c_out)), every batch norm, a block's last too, from 1 and 0, the classifier as torch has it.
"""

from __future__ import annotations

from functools import partial
from typing import Any

import torch
from timm.layers import SEModule
from timm.models import build_model_with_cfg, generate_default_cfgs, register_model
from timm.models._features import feature_take_indices
from timm.models.resnet import BasicBlock, Bottleneck, ResNet
from torch import Tensor, nn

from sosr_timm.models.weights import cifar_cfg, shipped_cfg

__all__ = ["CifarResNet"]


class CifarResNet(ResNet):
    """A ResNet with a stem of stride 1, with three stages at strides 1, 2 and 4 of the image, or a fourth at 8.

    Args:
        block: timm's `BasicBlock` or `Bottleneck`.
        layers: blocks of each of the three or four stages.
        in_chans: channels of the images.
        channels: widths of the stages; a bottleneck gives out four times as many channels.
        stem_width: channels of the stem; those of the first stage where not given.
        stem_kernel: size of its convolution, odd.
        stem_stride: 1 as in the paper, or 2 for a quarter of the computation: all strides double.
        output_stride: 2 or 4 dilates the stages that would stride further, for dense features; more than the model's
            stride changes nothing. (timm's default is kept for code that hands it to any model.)
        zero_init_last: start each block as the identity; the authors do not.
        device: where the parameters are made.
        dtype: their type.
        **options: what else timm's `ResNet` takes (`num_classes`, `global_pool`, `drop_rate`, `drop_path_rate`,
            `norm_layer`, `block_args`, ...).
    """

    def __init__(
        self,
        block: type[BasicBlock] | type[Bottleneck],
        layers: tuple[int, ...],
        in_chans: int = 3,
        channels: tuple[int, ...] = (16, 32, 64),
        stem_width: int | None = None,
        stem_kernel: int = 3,
        stem_stride: int = 1,
        output_stride: int = 32,
        zero_init_last: bool = False,
        device: torch.device | str | None = None,
        dtype: torch.dtype | None = None,
        **options: Any,
    ):
        if stem_stride not in (1, 2):
            raise ValueError(f"stem_stride must be 1 or 2, not {stem_stride}")
        if output_stride not in (2, 4, 8, 16, 32) or output_stride < 2 * stem_stride:
            raise ValueError(f"output_stride must be {2 * stem_stride}, ..., 16 or 32, not {output_stride}")
        if len(layers) not in (3, 4) or len(channels) != len(layers):
            raise ValueError(f"expected three stages or four, not layers={layers} with channels={channels}")
        stem_width = stem_width or channels[0]
        excess = 4 // stem_stride  # timm counts the stride of 4 of its own stem
        super().__init__(
            block,
            layers,
            in_chans=in_chans,
            channels=channels,
            stem_type="deep",  # the only stem of timm with a free width; replaced below
            stem_width=stem_width // 2,
            output_stride=min(excess * output_stride, 32),
            zero_init_last=zero_init_last,
            device=device,
            dtype=dtype,
            **options,
        )
        padding = stem_kernel // 2
        self.conv1 = nn.Conv2d(
            in_chans, stem_width, stem_kernel, stem_stride, padding, bias=False, device=device, dtype=dtype
        )
        nn.init.kaiming_normal_(self.conv1.weight, mode="fan_out", nonlinearity="relu")
        self.maxpool = nn.Identity()
        if len(layers) == 3:
            self.layer4 = nn.Sequential()
        for feature in self.feature_info:
            feature["reduction"] = max(feature["reduction"] // excess, stem_stride)

    def forward_intermediates(
        self,
        x: Tensor,
        indices: int | list[int] | None = None,
        norm: bool = False,
        stop_early: bool = False,
        output_fmt: str = "NCHW",
        intermediates_only: bool = False,
    ) -> list[Tensor] | tuple[Tensor, list[Tensor]]:
        """The final features, and the requested ones of the stem (0) and stages (1, 2, ...), as in timm's models."""
        indices, _ = feature_take_indices(len(self.feature_info), indices)
        return super().forward_intermediates(x, indices, norm, stop_early, output_fmt, intermediates_only)

    def prune_intermediate_layers(
        self, indices: int | list[int] = 1, prune_norm: bool = False, prune_head: bool = True
    ) -> list[int]:
        """Remove the layers that the requested features do not need; returns their indices."""
        indices, last = feature_take_indices(len(self.feature_info), indices)
        if last < len(self.feature_info) - 1:
            return super().prune_intermediate_layers(indices, prune_norm, prune_head)
        if prune_head:
            self.reset_classifier(0, "")
        return indices


default_cfgs = generate_default_cfgs(
    {
        "cifar_resnet8.untrained": cifar_cfg(num_classes=10),
        "cifar_resnet20.sosr_fashion_mnist": shipped_cfg("cifar_resnet20.sosr_fashion_mnist"),
        "cifar_resnet20.untrained*": cifar_cfg(num_classes=10),  # last and with *, so that it stays the default
        "cifar_resnet56.untrained": cifar_cfg(),
        "cifar_resnet110.untrained": cifar_cfg(),
        "cifar_se_resnet110.untrained": cifar_cfg(),
        "cifar_resnext29_2x64d.untrained": cifar_cfg(),
    }
)


def create_cifar_resnet(variant: str, pretrained: bool, **options: Any) -> nn.Module:
    """timm's builder, with the number of feature maps: one for the stem and one for each stage."""
    features = {"out_indices": tuple(range(1 + len(options["layers"])))}
    return build_model_with_cfg(CifarResNet, variant, pretrained, feature_cfg=features, **options)


@register_model
def cifar_resnet8(pretrained: bool = False, **kwargs: Any) -> nn.Module:
    """ResNet-8 of basic blocks: 78,042 parameters at 10 classes; for studies of many runs on few processor cores."""
    arguments = {"block": BasicBlock, "layers": (1, 1, 1), **kwargs}
    return create_cifar_resnet("cifar_resnet8", pretrained, **arguments)


@register_model
def cifar_resnet20(pretrained: bool = False, **kwargs: Any) -> nn.Module:
    """ResNet-20 of basic blocks: 272,474 parameters at 10 classes; for demonstrations and tests."""
    arguments = {"block": BasicBlock, "layers": (3, 3, 3), **kwargs}
    return create_cifar_resnet("cifar_resnet20", pretrained, **arguments)


@register_model
def cifar_resnet56(pretrained: bool = False, **kwargs: Any) -> nn.Module:
    """ResNet-56 of bottlenecks: 614,452 parameters at 100 classes."""
    arguments = {"block": Bottleneck, "layers": (6, 6, 6), **kwargs}
    return create_cifar_resnet("cifar_resnet56", pretrained, **arguments)


@register_model
def cifar_resnet110(pretrained: bool = False, **kwargs: Any) -> nn.Module:
    """ResNet-110 of bottlenecks: 1,170,868 parameters at 100 classes."""
    arguments = {"block": Bottleneck, "layers": (12, 12, 12), **kwargs}
    return create_cifar_resnet("cifar_resnet110", pretrained, **arguments)


@register_model
def cifar_se_resnet110(pretrained: bool = False, **kwargs: Any) -> nn.Module:
    """ResNet-110 with squeeze and excitation (reduction 16, no biases): 1,299,892 parameters at 100 classes."""
    attention = partial(SEModule, rd_ratio=1 / 16, rd_divisor=1, bias=False)
    arguments = {"block": Bottleneck, "layers": (12, 12, 12), "block_args": {"attn_layer": attention}, **kwargs}
    return create_cifar_resnet("cifar_se_resnet110", pretrained, **arguments)


@register_model
def cifar_resnext29_2x64d(pretrained: bool = False, **kwargs: Any) -> nn.Module:
    """ResNeXt-29, 2x64d, with a 1x1 stem of 64 channels: 9,221,028 parameters at 100 classes."""
    shape = {"block": Bottleneck, "layers": (3, 3, 3), "channels": (64, 128, 256)}
    arguments = {**shape, "cardinality": 2, "base_width": 64, "stem_kernel": 1, **kwargs}
    return create_cifar_resnet("cifar_resnext29_2x64d", pretrained, **arguments)
