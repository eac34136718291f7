"""Confidence penalty: reward entropy in the prediction (Pereyra et al. 2017, arXiv 1701.06548)."""

from __future__ import annotations

from torch import Tensor

from sosr_timm.losses.base import PENALTIES, Penalty, check_number
from sosr_timm.losses.targets import Labels


def negative_entropy(logits: Tensor) -> Tensor:
    """Minus the entropy of each prediction, sum_k p_k log p_k.

    With g_k = z_k - max z <= 0 and s = the sum of e^g over all classes but the top one, this is
    sum_k e^g_k g_k / (1 + s) - log(1 + s). Written so, nothing near 1 is subtracted from anything near 1, and float32
    keeps its digits for predictions that are almost certain, in the value and in the gradient p_j (log p_j + H).

    Args:
        logits: (M, K) float32 or float64.

    Returns:
        (M,) in nats, between -log K and 0.
    """
    top = logits.max(dim=1, keepdim=True)
    gap = logits - top.values
    rest = gap.exp().scatter(1, top.indices, 0.0)
    total = rest.sum(dim=1)
    return (rest * gap).sum(dim=1) / (1.0 + total) - total.log1p()


@PENALTIES.register("cp")
class ConfidencePenalty(Penalty):
    """weight * mean negative entropy, whatever the labels; without the hinge that the paper also tries.

    Args:
        weight: at least 0; 0.1 in the comparisons of the SOSR and MaxSup papers.

    Raises:
        ValueError: a negative weight.
    """

    def __init__(self, weight: float = 0.1):
        super().__init__()
        self.weight = check_number("weight", weight, low=0.0)

    def per_sample(self, logits: Tensor, labels: Labels) -> Tensor:
        return negative_entropy(logits)
