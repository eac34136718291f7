"""What a target says about each row of the logits: one function decides, by dtype and dimensions, never by value."""

from __future__ import annotations

from dataclasses import dataclass
from typing import NoReturn

import torch
from torch import Tensor

from sosr_timm.losses.weights import check_sample_weight

LABEL_WEIGHT = 1e-6  # a class is a label of a row when its un-smoothed weight exceeds this; less is rounding


@dataclass
class Labels:
    """The labels of a batch, either one class index per row or weights over the classes.

    Attributes:
        num_classes: K.
        index: (M,) int64 for hard targets, else None.
        dense: (M, K) float, the target as it came, else None.
        smoothing: the label smoothing that is in `dense`.
        sample_weight: (M,) numbers of at least 0 or bools, how many times each row counts, 0 for ignored rows; None
            where each row counts once.
    """

    num_classes: int
    index: Tensor | None = None
    dense: Tensor | None = None
    smoothing: float = 0.0
    sample_weight: Tensor | None = None

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

    def mean(self, values: Tensor, size: Tensor | None = None) -> Tensor:
        """Average over the rows, each counted as many times as its sample weight says.

        Args:
            values: (M,), of each row.
            size: (M,), what a row adds to the divisor each time it counts; None for 1. With class weights it is the
                weight of the row's class.

        Returns:
            scalar, sum(w * values) / sum(w * size); 0, with a gradient of 0, where the divisor is 0.
        """
        if self.sample_weight is None and size is None:
            return values.mean()
        if self.sample_weight is not None:
            weight = self.sample_weight.to(values.dtype)
            values = weight * values.masked_fill(weight == 0, 0.0)
            size = weight if size is None else weight * size
        total, divisor = values.sum(), size.sum()
        # Divided by 1 where the result is thrown away: the gradient of 0 / 0 is no number even then.
        empty = divisor == 0
        return torch.where(empty, torch.zeros_like(total), total / divisor.masked_fill(empty, 1.0))


def read_target(
    logits: Tensor,
    target: Tensor,
    smoothing: float = 0.0,
    ignore_index: int | None = None,
    sample_weight: Tensor | None = None,
) -> Labels:
    """Read a target as class indices or as the dense distributions that timm's Mixup and CutMix make.

    timm writes a label as 1 - s + s/K on its class and s/K elsewhere and mixes two of those, so with smoothing s the
    weight of a class is w = (t - s/K) / (1 - s); equal labels merge, and a mixing weight of 0 or 1 leaves one label.

    Args:
        logits: (M, K) floating point.
        target: (M,) integers in [0, K), or (M, K) floats that sum to 1 in each row.
        smoothing: the label smoothing that dense targets were made with, in [0, 1).
        ignore_index: class index of rows that do not count; None where all count.
        sample_weight: (M,) numbers of at least 0, how many times each row counts; None for once.

    Returns:
        the labels; dense ones in float32 or float64. An ignored row has class 0 and weight 0.

    Raises:
        ValueError: shapes or dtypes of neither form, an empty batch, dense targets with an index to ignore, or dense
            half-precision targets with smoothing, whose labels can no longer be told from the smoothing.
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
    if sample_weight is not None:
        check_sample_weight(sample_weight, rows)
    if target.ndim == 1:
        if target.is_floating_point() or target.is_complex() or target.dtype == torch.bool:
            raise ValueError(f"a target of shape (M,) must hold integers, got {target.dtype}")
        index = target.long()
        if ignore_index is not None:
            counts = index != ignore_index
            index = index.masked_fill(~counts, 0)
            sample_weight = counts if sample_weight is None else sample_weight * counts
        return Labels(classes, index=index, sample_weight=sample_weight)
    if ignore_index is not None:
        raise ValueError("ignore_index is for class indices: give rows of a dense target a sample_weight of 0")
    if not target.is_floating_point():
        raise ValueError(f"a target of shape (M, K) must hold floats, got {target.dtype} in shape {shape}")
    if target.shape[1] != classes:
        raise ValueError(f"target has {target.shape[1]} classes and logits have {classes}")
    if target.dtype not in (torch.float32, torch.float64):
        if smoothing:
            raise ValueError(f"dense targets with label smoothing must be float32 or float64, got {target.dtype}")
        target = target.float()
    return Labels(classes, dense=target, smoothing=smoothing, sample_weight=sample_weight)


def one_label(labels: Labels, name: str) -> Tensor:
    """(M,) int64, the class index of each row, for a term that is not defined for mixed targets.

    Raises:
        ValueError: dense targets; names the term.
    """
    if labels.index is None:
        refuse_mixed(name)
    return labels.index


def refuse_mixed(name: str) -> NoReturn:
    """Say that a term needs class indices.

    Raises:
        ValueError: always.
    """
    raise ValueError(f"{name} takes class indices: it is defined for one label per image, not for Mixup or CutMix")


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
