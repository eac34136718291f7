"""The parts of label smoothing by themselves (Zhou et al. 2025, MaxSup, arXiv 2502.15798, section 3.1 and table 1).

Cross entropy with label smoothing a is cross entropy + a (z_y - mean z). The logits below z_y make its regularization,
those above it, in wrong predictions, the error amplification.
"""

from __future__ import annotations

from torch import Tensor

from sosr_timm.losses.base import PENALTIES, Penalty, check_number
from sosr_timm.losses.targets import Labels, one_label, refuse_mixed
from sosr_timm.registry import close_names

PARTS = ("regularization", "amplification", "top")


def part_of_smoothing(logits: Tensor, index: Tensor, part: str) -> Tensor:
    """A part of z_y - mean z, for each sample.

    - "regularization": mean of z_y - z_k over the M classes with z_k < z_y, at least 0;
    - "amplification": mean of z_y - z_k over the N classes with z_k > z_y, at most 0;
    - "top": z_y - max z, at most 0.

    Where M or N is 0 the part is 0. Table 1 divides by M and N, equation 5 by K. Nothing is detached.

    Args:
        logits: (M, K) float32 or float64.
        index: (M,) int64, the label.
        part: one of `PARTS`.

    Returns:
        (M,) in units of the logits.
    """
    at_label = logits.gather(1, index.unsqueeze(1))
    if part == "top":
        return at_label.squeeze(1) - logits.max(dim=1).values
    distance = at_label - logits
    chosen = distance > 0 if part == "regularization" else distance < 0
    return distance.masked_fill(~chosen, 0.0).sum(dim=1) / chosen.sum(dim=1).clamp(min=1)


@PENALTIES.register("ls_parts")
class SmoothingParts(Penalty):
    """weight * mean of one part of label smoothing, for ablations.

    Args:
        part: "regularization", "amplification" or "top", see `part_of_smoothing`.
        weight: a, at least 0; 0.1 in table 1.
        soft_targets: Mixup or CutMix will mix the targets, for which the term is not defined.

    Raises:
        ValueError: an unknown part, a negative weight, or mixed targets.
    """

    def __init__(self, part: str = "regularization", weight: float = 0.1, *, soft_targets: bool = False):
        super().__init__()
        if part not in PARTS:
            raise ValueError(f"unknown part {part!r}: {close_names(str(part), PARTS)}")
        self.part = part
        self.weight = check_number("weight", weight, low=0.0)
        if soft_targets:
            refuse_mixed("ls_parts")

    def per_sample(self, logits: Tensor, labels: Labels) -> Tensor:
        return part_of_smoothing(logits, one_label(labels, "ls_parts"), self.part)
