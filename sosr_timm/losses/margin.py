"""Margin-based label smoothing (MbLS): logits may be below the top one by a margin, and no further.

Source: Liu et al. 2022, "The Devil is in the Margin", arXiv 2111.15430.
"""

from __future__ import annotations

from torch import Tensor

from sosr_timm.losses.base import PENALTIES, Penalty, check_number
from sosr_timm.losses.targets import Labels


def distance_beyond(logits: Tensor, margin: float) -> Tensor:
    """By how much the logits of each sample lie further below its top one than the margin, mean over all K classes.

    The gradient is -1/K at each logit that does and their number over K at the top one (one of them where several
    tie); a distance of exactly the margin has none.

    Args:
        logits: (M, K) float32 or float64.
        margin: in units of the logits.

    Returns:
        (M,) in units of the logits, at least 0: (1/K) sum_k max(max_j z_j - z_k - margin, 0).
    """
    return (logits.max(dim=1, keepdim=True).values - logits - margin).relu().mean(dim=1)


@PENALTIES.register("margin")
class Margin(Penalty):
    """weight * mean over samples and classes of max(max_j z_j - z_k - margin, 0).

    The labels play no part, so the term is the same for mixed targets. It takes the place of label smoothing, which is
    such a penalty with margin 0.

    Args:
        margin: at least 0; 10 is the default of the authors' code.
        weight: at least 0; 0.1 is the default of the authors' code.

    Raises:
        ValueError: a hyper-parameter below 0.
    """

    def __init__(self, margin: float = 10.0, weight: float = 0.1):
        super().__init__()
        self.margin = check_number("margin", margin, low=0.0)
        self.weight = check_number("weight", weight, low=0.0)

    def per_sample(self, logits: Tensor, labels: Labels) -> Tensor:
        return distance_beyond(logits, self.margin)
