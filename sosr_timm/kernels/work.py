"""The input of a row kernel: the target of each row and the constants of the terms, as plain values."""

from __future__ import annotations

from dataclasses import dataclass, replace

import torch
from torch import Tensor

TERMS = ("base", "sosr", "maxsup", "cp", "logit_penalty", "margin", "ls_parts")  # what adds up to the loss
PARTS = (*TERMS, "selected")
# Functions of the label's probability p that can replace -log p, and their numbers in the kernels.
CURVES = {"focal": 1, "flsd53": 2, "relaxation": 3}
SMOOTHING_PARTS = {"regularization": 1, "amplification": 2, "top": 3}


@dataclass
class RowWork:
    """A loss on one batch. A term that is None is left out.

    Attributes:
        index: (M,) int64, or None with dense targets.
        dense: (M, K) float32 or float64, or None with class indices.
        hard: with class indices, weight of the label's -log p.
        spread: weight of the mean of -log p over all classes: label smoothing; a scalar tensor where it lives on the
            accelerator, and then `hard` is what is left of 1.
        mass: the sum of the two, 1 but for a made-up teacher.
        offset: added to the value of every row.
        curve: one of `CURVES`, in the place of -log p of the label; None for that. With class indices, nothing spread.
        curve_parameter: gamma of "focal", alpha of "relaxation".
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
        logit_penalty: weight of half the squared norm.
        margin: distance below the top logit that is free.
        margin_weight: weight of what goes beyond it, mean over the classes.
        part: one of `SMOOTHING_PARTS`; with class indices.
        part_weight: its weight.
    """

    index: Tensor | None = None
    dense: Tensor | None = None
    hard: float | Tensor = 1.0
    spread: float | Tensor = 0.0
    mass: float = 1.0
    offset: float = 0.0
    curve: str | None = None
    curve_parameter: float = 0.0
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
    logit_penalty: float | None = None
    margin: float = 0.0
    margin_weight: float | None = None
    part: str | None = None
    part_weight: float = 0.0

    @property
    def parts(self) -> tuple[str, ...]:
        """The `PARTS` that the loss has."""
        there = {
            "sosr": self.beta,
            "maxsup": self.maxsup,
            "cp": self.cp,
            "logit_penalty": self.logit_penalty,
            "margin": self.margin_weight,
            "ls_parts": self.part,
            "selected": self.beta,
        }
        return ("base", *(name for name, value in there.items() if value is not None))

    def without_counting(self) -> RowWork:
        """The same work without changes of state, to compute a batch again."""
        return replace(self, probability_sum=None, correct_count=None)


def inner_dtype(dtype: torch.dtype) -> torch.dtype:
    """The dtype of everything but the gradient: float64 for float64, else float32."""
    return torch.float64 if dtype == torch.float64 else torch.float32
