"""The causal-norm classifier for long-tailed sets (Tang et al. 2020, arXiv 2009.12991), on CIFAR's ResNet-32.

MaxSup's long-tail experiments (table 7) train it. It compares directions instead of logits of a linear layer, remembers
the direction that training features drift to, and removes it from the features of an evaluation.
"""

from __future__ import annotations

import math
from typing import Any

import torch
import torch.nn.functional as F
from timm.layers import get_device_dtype
from timm.models import generate_default_cfgs, register_model
from torch import Tensor, nn

from sosr_timm.models.cifar_bbn import WIDTHS, CifarBbnResNet
from sosr_timm.models.staged import create_with_features
from sosr_timm.models.weights import cifar_cfg

__all__ = ["CausalNormClassifier", "CausalNormResNet"]


class CausalNormClassifier(nn.Module):
    """Logits from directions, in several heads, without the drift of the training features.

    Features and weights are cut into `heads` parts. With x^ = x / ||x|| of a part and w' = w / (||w|| + gamma):

        training:    y_k = sum_h (tau / heads) w'_hk . x^_h
        evaluation:  y_k = sum_h (tau / heads) w'_hk . (x^_h - alpha cos(x^_h, c^_h) c^_h)

    c is the running sum c <- momentum c + mean(x) over training batches; only its direction counts. Where a norm is 0,
    its direction is 0: before the first training batch nothing is removed.

    Args:
        in_features: D, divisible by `heads`.
        num_classes: K.
        heads: parts.
        tau: scale of the logits.
        gamma: what makes short weights shorter.
        alpha: how much of the drift an evaluation removes; 0: nothing.
        momentum: of the running sum; the released code has 0.9 on CIFAR.
        device: where the parameters are made.
        dtype: their type.

    Raises:
        ValueError: D is not divisible by `heads`.
    """

    def __init__(
        self,
        in_features: int,
        num_classes: int,
        heads: int = 2,
        tau: float = 16.0,
        gamma: float = 1 / 32,
        alpha: float = 1.0,
        momentum: float = 0.9,
        device: torch.device | str | None = None,
        dtype: torch.dtype | None = None,
    ):
        super().__init__()
        if heads < 1 or in_features % heads:
            raise ValueError(f"{in_features} features cannot be cut into {heads} heads of one size")
        self.in_features, self.out_features = in_features, num_classes
        self.heads, self.tau, self.gamma, self.alpha, self.momentum = heads, tau, gamma, alpha, momentum
        self.weight = nn.Parameter(torch.empty(num_classes, in_features, device=device, dtype=dtype))
        # Called like batch norm's statistics, so that the processes of a run agree on it as they do on those.
        self.register_buffer("running_mean", torch.zeros(in_features, device=device, dtype=dtype))
        self.reset_parameters()

    @torch.no_grad()
    def reset_parameters(self) -> None:
        """Draw the weights from U(-1 / sqrt(D), 1 / sqrt(D)) and forget the drift."""
        bound = 1 / math.sqrt(self.in_features)
        self.weight.uniform_(-bound, bound)
        self.running_mean.zero_()

    def forward(self, x: Tensor) -> Tensor:
        """(M, D) features to (M, K) logits, in float32 or wider."""
        with torch.autocast(x.device.type, enabled=False):
            x = x.float() if x.dtype in (torch.float16, torch.bfloat16) else x
            if self.training:
                with torch.no_grad():
                    drift = self.momentum * self.running_mean.to(x.dtype) + x.detach().mean(dim=0)
                    self.running_mean.copy_(drift)
            direction = F.normalize(self._parts(x), dim=2, eps=torch.finfo(x.dtype).tiny)
            if not self.training and self.alpha:
                drift = self._parts(self.running_mean.to(x.dtype)[None])
                drift = F.normalize(drift, dim=2, eps=torch.finfo(x.dtype).tiny)
                direction = direction - self.alpha * (direction * drift).sum(dim=2, keepdim=True) * drift
            weight = self._parts(self.weight.to(x.dtype))
            weight = weight / (weight.norm(dim=2, keepdim=True) + self.gamma)
            return self.tau / self.heads * direction.flatten(1) @ weight.flatten(1).T

    def _parts(self, values: Tensor) -> Tensor:
        """(N, D) as (N, heads, D / heads)."""
        return values.unflatten(1, (self.heads, -1))

    def extra_repr(self) -> str:
        return (
            f"in_features={self.in_features}, out_features={self.out_features}, heads={self.heads}, tau={self.tau}, "
            f"gamma={self.gamma}, alpha={self.alpha}, momentum={self.momentum}"
        )


class CausalNormResNet(CifarBbnResNet):
    """`CifarBbnResNet` with a causal-norm classifier.

    Args:
        blocks: of each stage.
        heads, tau, gamma, alpha, momentum: of `CausalNormClassifier`.
        **options: what else `CifarBbnResNet` takes.
    """

    def __init__(
        self,
        blocks: int,
        heads: int = 2,
        tau: float = 16.0,
        gamma: float = 1 / 32,
        alpha: float = 1.0,
        momentum: float = 0.9,
        **options: Any,
    ):
        self.head_options = {"heads": heads, "tau": tau, "gamma": gamma, "alpha": alpha, "momentum": momentum}
        super().__init__(blocks, **options)
        self._make_classifier()

    def reset_classifier(self, num_classes: int, global_pool: str | None = None) -> None:
        super().reset_classifier(num_classes, global_pool)
        self._make_classifier()
        self.fc.train(self.training)

    def _make_classifier(self) -> None:
        if self.num_classes > 0:
            place = get_device_dtype(self)
            self.fc = CausalNormClassifier(self.head_hidden_size, self.num_classes, **self.head_options, **place)


default_cfgs = generate_default_cfgs(
    {"cifar_resnet32_causal_norm.untrained": cifar_cfg(num_classes=10, first_conv="stem.conv")}
)


@register_model
def cifar_resnet32_causal_norm(pretrained: bool = False, **kwargs: Any) -> nn.Module:
    """`cifar_resnet32` with a causal-norm classifier: 550,288 parameters at 100 classes."""
    arguments = {"blocks": 5, **kwargs}
    name = "cifar_resnet32_causal_norm"
    return create_with_features(CausalNormResNet, name, pretrained, 1 + len(WIDTHS), **arguments)
