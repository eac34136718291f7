"""What a row kernel is asked for: the target of each row and the constants of the terms, as plain values."""

from __future__ import annotations

from dataclasses import dataclass, replace

import torch
from torch import Tensor

TERMS = ("base", "sosr", "maxsup", "cp")  # what adds up to the loss
PARTS = (*TERMS, "selected")


@dataclass
class RowWork:
    """A loss on one batch. A term that is None is left out.

    Attributes:
        index: (M,) int64, or None with dense targets.
        dense: (M, K) float32 or float64, or None with class indices.
        smoothing: label smoothing that the base gives to class indices.
        dense_smoothing: label smoothing that is in `dense`, taken out to tell the labels of a row.
        label_weight: a class is a label of a dense row when its un-smoothed weight exceeds this.
        alpha: weight of the labels; the soft labels get the rest.
        soft_labels: (K, K) float, or None without online label smoothing.
        probability_sum: (K, K) float, where the probabilities of correct rows are added up; None when not counting.
        correct_count: (K,) float, how many rows were; None when not counting.
        threshold: SOSR's P.
        beta: SOSR's weight.
        maxsup: weight of the top logit's excess; a scalar tensor where it lives on the accelerator.
        cp: weight of the negative entropy.
    """

    index: Tensor | None = None
    dense: Tensor | None = None
    smoothing: float = 0.0
    dense_smoothing: float = 0.0
    label_weight: float = 1e-6
    alpha: float = 1.0
    soft_labels: Tensor | None = None
    probability_sum: Tensor | None = None
    correct_count: Tensor | None = None
    threshold: float = 1.0
    beta: float | None = None
    maxsup: float | Tensor | None = None
    cp: float | None = None

    @property
    def parts(self) -> tuple[str, ...]:
        """Which of `PARTS` the loss has."""
        there = {"sosr": self.beta, "maxsup": self.maxsup, "cp": self.cp, "selected": self.beta}
        return ("base", *(name for name, value in there.items() if value is not None))

    def without_counting(self) -> RowWork:
        """The same without changing any state: for a second look at a batch."""
        return replace(self, probability_sum=None, correct_count=None)


def inner_dtype(dtype: torch.dtype) -> torch.dtype:
    """The number format of everything but the gradient: float64 for float64, else float32."""
    return torch.float64 if dtype == torch.float64 else torch.float32
