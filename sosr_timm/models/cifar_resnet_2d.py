"""CIFAR ResNets whose features are points in a plane: figure 3 of the SOSR paper (arXiv 2103.15383).

Between the pooled features and the classifier is a linear layer to two numbers, with bias and without an activation
(the authors' experiments/cifar_feature_embedding_sosr.py): the penultimate features can be plotted as they are.
"""

from __future__ import annotations

from typing import Any

from timm.layers import get_device_dtype
from timm.models import build_model_with_cfg, generate_default_cfgs, register_model
from timm.models.resnet import Bottleneck
from torch import Tensor, nn

from sosr_timm.models.cifar_resnet import CifarResNet
from sosr_timm.models.weights import cifar_cfg

__all__ = ["PlaneResNet"]

DIMENSIONS = 2


class PlaneResNet(CifarResNet):
    """A `CifarResNet` with two-dimensional penultimate features.

    `fc2` maps the pooled features to the plane, `fc` the plane to the logits; `forward_head(..., pre_logits=True)`
    gives the points. Without pooling there are no points: then the head gives feature maps, as timm's models do.

    Args:
        *arguments: of `CifarResNet`.
        **options: of `CifarResNet`.
    """

    def __init__(self, *arguments: Any, **options: Any):
        super().__init__(*arguments, **options)
        self.fc2 = nn.Linear(self.num_features, DIMENSIONS, **get_device_dtype(self))
        self._make_classifier()

    def _make_classifier(self) -> None:
        self.head_hidden_size = DIMENSIONS
        if self.num_classes:
            self.fc = nn.Linear(DIMENSIONS, self.num_classes, **get_device_dtype(self))

    def reset_classifier(self, num_classes: int, global_pool: str | None = None) -> None:
        super().reset_classifier(num_classes, self.global_pool.pool_type if global_pool is None else global_pool)
        self._make_classifier()
        self.fc.train(self.training)

    def forward_head(self, x: Tensor, pre_logits: bool = False) -> Tensor:
        """(N, C, H, W) feature maps to (N, 2) points with `pre_logits`, else to logits."""
        x = self.global_pool(x)
        if x.ndim > 2:  # no pooling
            return x
        if self.drop_rate:
            x = nn.functional.dropout(x, p=float(self.drop_rate), training=self.training)
        x = self.fc2(x)
        return x if pre_logits else self.fc(x)


default_cfgs = generate_default_cfgs(
    {
        "cifar_resnet110_2d.untrained": cifar_cfg(num_classes=10),
    }
)


@register_model
def cifar_resnet110_2d(pretrained: bool = False, **kwargs: Any) -> nn.Module:
    """ResNet-110 of bottlenecks with 2-D features: 1,145,982 parameters at 100 classes, 1,145,712 at 10."""
    arguments = {"block": Bottleneck, "layers": (12, 12, 12), **kwargs}
    features = {"out_indices": tuple(range(1 + len(arguments["layers"])))}
    return build_model_with_cfg(PlaneResNet, "cifar_resnet110_2d", pretrained, feature_cfg=features, **arguments)
