"""Logit penalty: a small squared norm of the logits, a baseline of the MaxSup paper (arXiv 2502.15798).

Sources: the code of the MaxSup paper; named and compared by Kornblith et al. 2021, arXiv 2010.16402.
"""

from __future__ import annotations

from torch import Tensor

from sosr_timm.losses.base import PENALTIES, Penalty, check_number
from sosr_timm.losses.targets import Labels


def half_squared_norm(logits: Tensor) -> Tensor:
    """(M,), half the sum of the squared logits of each sample; the gradient is the logits themselves."""
    return logits.square().sum(dim=1) / 2


@PENALTIES.register("logit_penalty")
class LogitPenalty(Penalty):
    """weight/2 * mean squared norm of the logits, whatever the labels.

    The one term that a constant added to all logits of a sample changes.

    Args:
        weight: at least 0; 0.002 in the code of the MaxSup paper.

    Raises:
        ValueError: a negative weight.
    """

    def __init__(self, weight: float = 0.002):
        super().__init__()
        self.weight = check_number("weight", weight, low=0.0)

    def per_sample(self, logits: Tensor, labels: Labels) -> Tensor:
        return half_squared_norm(logits)
