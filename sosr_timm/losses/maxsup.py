"""MaxSup: suppress the top logit instead of the label's (Zhou et al. 2025, arXiv 2502.15798)."""

from __future__ import annotations

import torch
from torch import Tensor

from sosr_timm.losses.base import PENALTIES, Penalty, check_number, lasting_tensors
from sosr_timm.losses.targets import Labels


def top_logit_excess(logits: Tensor) -> Tensor:
    """By how much the largest logit of each sample exceeds the mean of all, max_k z_k - (1/K) sum_k z_k.

    The gradient is 1 - 1/K at the largest logit (at one of them where several tie) and -1/K elsewhere.

    Args:
        logits: (M, K) float32 or float64.

    Returns:
        (M,) in units of the logits, at least 0.
    """
    return logits.max(dim=1).values - logits.mean(dim=1)


@PENALTIES.register("maxsup")
class MaxSup(Penalty):
    """a * mean excess of the top logit, where a goes linearly from `start` to `end` as training progresses.

    The labels play no part, so the term is the same for mixed targets. It takes the place of label smoothing.

    Args:
        start: a in the first epoch, at least 0.
        end: a in the last epoch, at least 0.

    Raises:
        ValueError: a negative weight.
    """

    def __init__(self, start: float = 0.1, end: float = 0.2):
        super().__init__()
        self.start = check_number("start", start, low=0.0)
        self.end = check_number("end", end, low=0.0)
        self.follows_progress = self.start != self.end
        # A tensor, because a compiled loss would be compiled again for every new value of a Python number.
        with lasting_tensors():
            self.register_buffer("weight", torch.tensor(self.start, dtype=torch.float64))

    def set_progress(self, progress: float) -> None:
        self.weight.fill_(self.start + (self.end - self.start) * progress)

    def per_sample(self, logits: Tensor, labels: Labels) -> Tensor:
        return top_logit_excess(logits)
