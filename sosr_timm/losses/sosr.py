"""Selective output smoothing (SOSR): level the wrong logits of samples already predicted with confidence.

Source: Cheng et al. 2021, "Selective Output Smoothing Regularization", arXiv 2103.15383.
"""

from __future__ import annotations

import torch
from torch import Tensor

from sosr_timm.losses.base import PENALTIES, Penalty, check_number
from sosr_timm.losses.targets import Labels


def selected_spread(logits: Tensor, labels: Labels, threshold: float = 0.99) -> tuple[Tensor, Tensor]:
    """Spread of the wrong logits of each over-confident sample, (1/K) sum_{k wrong} (z_k - mu)^2.

    Wrong are the classes that are no label of the sample, mu is the mean of their logits (detached: the gradient is the
    same, because deviations from a mean sum to 0). A sample is over-confident when
    - it has one label, that is the arg max, and p_label > threshold;
    - or it is mixed from two or more, and the sum of their probabilities > threshold.

    Args:
        logits: (M, K) float32 or float64.
        labels: the labels; a mixed sample keeps all its label logits.
        threshold: P in (0, 1]; the comparison is strict, so 1 selects nothing.

    Returns:
        spread: (M,) in squared logits, 0 for samples that are not selected.
        selected: (M,) bool, over-confident and with at least one wrong logit.

    Source: the paper, section 2.2 and equation 1 (one label), section 3.2 (two labels).
    """
    classes = logits.shape[1]
    keep = labels.mask()
    label_count = keep.sum(dim=1)
    wrong_count = classes - label_count

    with torch.no_grad():
        # Rounding can push a sum of probabilities past 1, and a threshold of 1 must select nothing.
        belief = logits.softmax(dim=1).masked_fill(~keep, 0.0).sum(dim=1).clamp(max=1.0)
        top_is_label = keep.gather(1, logits.argmax(dim=1, keepdim=True)).squeeze(1)
        selected = (belief > threshold) & (top_is_label | (label_count > 1)) & (wrong_count > 0)
        mean_wrong = logits.masked_fill(keep, 0.0).sum(dim=1) / wrong_count.clamp(min=1)

    deviation = (logits - mean_wrong.unsqueeze(1)).masked_fill(keep, 0.0)
    spread = deviation.square().sum(dim=1) / classes
    return spread.masked_fill(~selected, 0.0), selected


@PENALTIES.register("sosr")
class SelectiveOutputSmoothing(Penalty):
    """beta / (M K) * sum over selected samples and wrong classes of (z - mu)^2, for all M samples that count.

    Args:
        threshold: P, in (0, 1]; 0.99 in the paper's tables (table 3: in the authors' README; table 8 has none).
        beta: weight, at least 0; 0.5 in the paper's table 5 and 6, 1 in its table 7.

    Raises:
        ValueError: a hyper-parameter out of range.
    """

    def __init__(self, threshold: float = 0.99, beta: float = 0.5):
        super().__init__()
        self.threshold = check_number("threshold", threshold, 0.0, 1.0, above=True)
        self.weight = check_number("beta", beta, low=0.0)

    def per_sample(self, logits: Tensor, labels: Labels) -> Tensor:
        return selected_spread(logits, labels, self.threshold)[0]

    def forward(self, logits: Tensor, labels: Labels) -> tuple[Tensor, dict[str, Tensor]]:
        spread, selected = selected_spread(logits, labels, self.threshold)
        return self.weighted_mean(spread, labels), {"selected": labels.mean(selected.to(logits.dtype)).detach()}
