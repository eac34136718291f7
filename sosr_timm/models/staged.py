"""The base of the CIFAR models for which timm has no class: a stem, stages of blocks, last layers, a classifier."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import torch
import torch.nn.functional as F
from timm.layers import create_classifier, get_device_dtype
from timm.models import build_model_with_cfg, checkpoint_seq
from timm.models._features import feature_take_indices
from torch import Tensor, nn

from sosr_timm.models.weights import initialise


class StagedNet(nn.Module):
    """Stem, stages, last layers, global pooling and a linear classifier, with the methods of timm's models.

    The features are those of the stem (0) and of the stages (1, 2, ...), the last of them after the last layers.

    Args:
        stem: what comes before the first stage.
        stages: a `Sequential` of blocks each.
        final: what comes between the last stage and the pooling.
        channels: of each feature.
        reductions: the stride of each feature.
        num_classes: 0 for none.
        in_chans: channels of the images.
        global_pool: timm's name of the pooling; "" for none.
        drop_rate: of the dropout before the classifier.
        device: where the classifier is made.
        dtype: its type.
    """

    def __init__(
        self,
        stem: nn.Module,
        stages: Sequence[nn.Sequential],
        final: nn.Module,
        channels: Sequence[int],
        reductions: Sequence[int],
        num_classes: int = 100,
        in_chans: int = 3,
        global_pool: str = "avg",
        drop_rate: float = 0.0,
        device: torch.device | str | None = None,
        dtype: torch.dtype | None = None,
    ):
        super().__init__()
        self.num_classes, self.in_chans, self.drop_rate = num_classes, in_chans, drop_rate
        self.grad_checkpointing = False
        self.stem, self.stages, self.final = stem, nn.ModuleList(stages), final
        modules = ["stem", *(f"stages.{stage}" for stage in range(len(stages) - 1)), "final"]
        self.feature_info = [
            {"num_chs": number, "reduction": reduction, "module": module}
            for number, reduction, module in zip(channels, reductions, modules, strict=True)
        ]
        self.num_features = channels[-1]
        self.global_pool, self.fc = create_classifier(
            self.num_features, num_classes, pool_type=global_pool, device=device, dtype=dtype
        )
        self.head_hidden_size = self.num_features * self.global_pool.feat_mult()
        initialise(self)

    @torch.jit.ignore
    def group_matcher(self, coarse: bool = False) -> dict[str, Any]:
        """Patterns that put parameters into groups, in the order of depth: stem, blocks (or stages), last layers."""
        blocks = r"^stages\.(\d+)" if coarse else r"^stages\.(\d+)\.(\d+)"
        return {"stem": r"^stem", "blocks": [(blocks, None), (r"^final", (99999,))]}

    @torch.jit.ignore
    def set_grad_checkpointing(self, enable: bool = True) -> None:
        """Recompute each block's activations in the backward pass."""
        self.grad_checkpointing = enable

    @torch.jit.ignore
    def get_classifier(self) -> nn.Module:
        """The last linear layer."""
        return self.fc

    def reset_classifier(self, num_classes: int, global_pool: str | None = None) -> None:
        """Replace the classifier; `global_pool` None keeps the pooling."""
        self.num_classes = num_classes
        if global_pool is None:
            global_pool = self.global_pool.pool_type
        self.global_pool, self.fc = create_classifier(
            self.num_features, num_classes, pool_type=global_pool, **get_device_dtype(self)
        )
        self.head_hidden_size = self.num_features * self.global_pool.feat_mult()
        self.global_pool.train(self.training)
        self.fc.train(self.training)

    def _stage(self, stage: int, x: Tensor) -> Tensor:
        x = checkpoint_seq(self.stages[stage], x) if self.grad_checkpointing else self.stages[stage](x)
        return self.final(x) if stage == len(self.stages) - 1 else x

    def forward_features(self, x: Tensor) -> Tensor:
        """(N, in_chans, H, W) to the last feature map, after the last layers."""
        x = self.stem(x)
        for stage in range(len(self.stages)):
            x = self._stage(stage, x)
        return x

    def forward_intermediates(
        self,
        x: Tensor,
        indices: int | list[int] | None = None,
        norm: bool = False,
        stop_early: bool = False,
        output_fmt: str = "NCHW",
        intermediates_only: bool = False,
    ) -> list[Tensor] | tuple[Tensor, list[Tensor]]:
        """The final feature map, and the requested ones of the stem (0) and stages (1, 2, ...), as in timm's models.

        Raises:
            ValueError: another format than NCHW.
        """
        if output_fmt != "NCHW":
            raise ValueError(f"output_fmt must be NCHW, not {output_fmt}")
        wanted, last = feature_take_indices(len(self.feature_info), indices)
        x = self.stem(x)
        intermediates = [x] if 0 in wanted else []
        for stage in range(last if stop_early else len(self.stages)):
            x = self._stage(stage, x)
            if stage + 1 in wanted:
                intermediates.append(x)
        return intermediates if intermediates_only else (x, intermediates)

    def prune_intermediate_layers(
        self, indices: int | list[int] = 1, prune_norm: bool = False, prune_head: bool = True
    ) -> list[int]:
        """Remove the layers that the requested features do not need; returns their indices."""
        wanted, last = feature_take_indices(len(self.feature_info), indices)
        if last < len(self.feature_info) - 1:
            self.stages, self.final = self.stages[:last], nn.Identity()
            self.num_features = self.feature_info[last]["num_chs"]
            prune_head = True
        if prune_head:
            self.reset_classifier(0, "")
        return wanted

    def forward_head(self, x: Tensor, pre_logits: bool = False) -> Tensor:
        """Pooled features, and logits unless `pre_logits`."""
        x = F.dropout(self.global_pool(x), p=self.drop_rate, training=self.training)
        return x if pre_logits else self.fc(x)

    def forward(self, x: Tensor) -> Tensor:
        return self.forward_head(self.forward_features(x))


def create_with_features(
    model: type[nn.Module], variant: str, pretrained: bool, features: int, **options: Any
) -> nn.Module:
    """timm's builder, for models whose `features_only=True` uses `forward_intermediates`.

    Args:
        model: the class.
        variant: name of the entry.
        pretrained: load weights, from the file that `pretrained_cfg_overlay` names.
        features: how many feature maps there are.
        **options: arguments of the class and of timm's builder.
    """
    config = {"out_indices": tuple(range(features)), "feature_cls": "getter"}
    return build_model_with_cfg(model, variant, pretrained, feature_cfg=config, **options)
