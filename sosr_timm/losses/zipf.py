"""Zipf's label smoothing: the wrong classes of a sample are to follow Zipf's law by their rank.

Source: Liang et al. 2022, "Efficient One Pass Self-distillation with Zipf's Label Smoothing", arXiv 2207.12980, and its
code, in the form that ranks the logits.
"""

from __future__ import annotations

import torch
from torch import Tensor

from sosr_timm.losses.base import PENALTIES, Penalty, check_number
from sosr_timm.losses.targets import Labels, one_label, refuse_mixed
from sosr_timm.registry import close_names


def ranks(logits: Tensor) -> Tensor:
    """(M, K) int64, the place of each logit in its row from the top; 1, 2, 2, 4 where two are equal."""
    lowest_first = (-logits).contiguous()
    return torch.searchsorted(lowest_first.sort(dim=1).values, lowest_first) + 1


def zipf_divergence(logits: Tensor, index: Tensor, power: float = 1.0) -> Tensor:
    """KL(q || r) over the K - 1 wrong classes of each sample.

    r is the softmax of the wrong logits alone; q is proportional to 1 / rank^power, where the ranks are those among all
    K logits, so the label's rank is left out without the others moving up. q takes no gradient; that of the wrong
    logits is r - q, the label's is 0.

    Args:
        logits: (M, K) float32 or float64.
        index: (M,) int64, the label.
        power: of Zipf's law, at least 0.

    Returns:
        (M,) in nats, at least 0; 0 for one or two classes.
    """
    label = index.unsqueeze(1)
    with torch.no_grad():
        q = ranks(logits).to(logits.dtype).pow(-power).scatter(1, label, 0.0)
        q = q / q.sum(dim=1, keepdim=True).clamp(min=torch.finfo(q.dtype).tiny)
        negative_entropy = torch.special.xlogy(q, q).sum(dim=1)
    # The lowest number instead of minus infinity, because 0 times that is not a number.
    log_r = logits.scatter(1, label, torch.finfo(logits.dtype).min).log_softmax(dim=1)
    return negative_entropy - (q * log_r).sum(dim=1)


@PENALTIES.register("zipf")
class Zipf(Penalty):
    """weight * mean divergence of the wrong classes from Zipf's law. It takes the place of label smoothing.

    Args:
        weight: at least 0; 0.1 for CIFAR-100 and ImageNet, 1.0 for Tiny ImageNet in the authors' code.
        power: exponent of Zipf's law, at least 0; 0 is the uniform distribution.
        ranks: where the ranks come from; "logits" is the only source that a loss of logits can see.
        soft_targets: Mixup or CutMix will mix the targets, for which the term is not defined.

    Raises:
        ValueError: a hyper-parameter out of range, another source of ranks, or mixed targets.
    """

    def __init__(self, weight: float = 0.1, power: float = 1.0, ranks: str = "logits", *, soft_targets: bool = False):
        super().__init__()
        self.weight = check_number("weight", weight, low=0.0)
        self.power = check_number("power", power, low=0.0)
        if ranks == "dense":
            raise ValueError(
                "ranks='dense' counts votes of the positions of the model's last feature map, which a loss cannot see: "
                "only ranks='logits' is supported"
            )
        if ranks != "logits":
            raise ValueError(f"unknown ranks {ranks!r}: {close_names(str(ranks), ['logits'])}")
        if soft_targets:
            refuse_mixed("zipf")

    def per_sample(self, logits: Tensor, labels: Labels) -> Tensor:
        return zipf_divergence(logits, one_label(labels, "zipf"), self.power)
