"""What a target says about each row of the logits: one function decides, by dtype and dimensions, never by value."""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor

LABEL_WEIGHT = 1e-6  # a class is a label of a row when its un-smoothed weight exceeds this; less is rounding


@dataclass
class Labels:
    """The labels of a batch, either one class index per row or weights over the classes.

    Attributes:
        num_classes: K.
        index: (M,) int64 for hard targets, else None.
        dense: (M, K) float, the target as it came, else None.
        smoothing: the label smoothing that is in `dense`.
    """

    num_classes: int
    index: Tensor | None = None
    dense: Tensor | None = None
    smoothing: float = 0.0

    @property
    def weights(self) -> Tensor | None:
        """(M, K) float, `dense` with label smoothing taken out again; None for hard targets."""
        if self.dense is None or not self.smoothing:
            return self.dense
        return (self.dense - self.smoothing / self.num_classes) / (1.0 - self.smoothing)

    def mask(self) -> Tensor:
        """(M, K) bool, true where the class is a label of the row: one of a hard target, one or more of a mixed one."""
        if self.dense is not None:
            return self.weights > LABEL_WEIGHT
        classes = torch.arange(self.num_classes, device=self.index.device)
        return self.index.unsqueeze(1) == classes


def read_target(logits: Tensor, target: Tensor, smoothing: float = 0.0) -> Labels:
    """Read a target as class indices or as the dense distributions that timm's Mixup and CutMix make.

    timm writes a label as 1 - s + s/K on its class and s/K elsewhere and mixes two of those, so with smoothing s the
    weight of a class is w = (t - s/K) / (1 - s); equal labels merge, and a mixing weight of 0 or 1 leaves one label.

    Args:
        logits: (M, K) floating point.
        target: (M,) integers in [0, K), or (M, K) floats that sum to 1 in each row.
        smoothing: the label smoothing that dense targets were made with, in [0, 1).

    Returns:
        the labels; dense ones in float32 or float64.

    Raises:
        ValueError: shapes or dtypes that fit neither form, an empty batch, or dense half-precision targets with
            smoothing, whose labels can no longer be told from the smoothing.
    """
    check_logits(logits)
    rows, classes = logits.shape
    if not isinstance(target, Tensor):
        raise ValueError(f"target must be a tensor, got {type(target).__name__}")
    shape = tuple(target.shape)
    if target.ndim not in (1, 2):
        raise ValueError(f"target must have shape (M,) or (M, K), got {shape}")
    if target.shape[0] != rows:
        raise ValueError(f"target has {target.shape[0]} rows and logits have {rows}")
    if target.ndim == 1:
        if target.is_floating_point() or target.is_complex() or target.dtype == torch.bool:
            raise ValueError(f"a target of shape (M,) must hold integers, got {target.dtype}")
        return Labels(classes, index=target.long())
    if not target.is_floating_point():
        raise ValueError(f"a target of shape (M, K) must hold floats, got {target.dtype} in shape {shape}")
    if target.shape[1] != classes:
        raise ValueError(f"target has {target.shape[1]} classes and logits have {classes}")
    if target.dtype not in (torch.float32, torch.float64):
        if smoothing:
            raise ValueError(f"dense targets with label smoothing must be float32 or float64, got {target.dtype}")
        target = target.float()
    return Labels(classes, dense=target, smoothing=smoothing)


def check_logits(logits: Tensor) -> None:
    """Logits are a non-empty (M, K) matrix of floats.

    Raises:
        ValueError: they are not.
    """
    if not isinstance(logits, Tensor):
        raise ValueError(f"logits must be a tensor, got {type(logits).__name__}")
    if logits.ndim != 2 or logits.shape[0] == 0 or logits.shape[1] == 0:
        raise ValueError(f"logits must have shape (M, K) with M and K at least 1, got {tuple(logits.shape)}")
    if not logits.is_floating_point():
        raise ValueError(f"logits must be floating point, got {logits.dtype}")
