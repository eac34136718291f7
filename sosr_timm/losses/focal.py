"""Focal loss: cross entropy that counts less where the label is already believed.

Sources: Lin et al. 2017, arXiv 1708.02002; for classification and the schedule, Mukhoti et al. 2020, arXiv 2002.09437.
"""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Tensor

from sosr_timm.losses.base import BASES, Base, check_number
from sosr_timm.losses.cross_entropy import size_of_samples
from sosr_timm.losses.log_probabilities import log_probabilities
from sosr_timm.losses.targets import Labels

# FLSD-53 of Mukhoti et al.: gamma 5 where p < 0.2, else 3.
SCHEDULE = 53
LOW_PROBABILITY, LOW_GAMMA, GAMMA = 0.2, 5.0, 3.0


def focal(log_p: Tensor, complement: Tensor, gamma: float | None) -> Tensor:
    """-(1 - p)^gamma log p of each probability.

    The gradient with respect to log p is -(1 - p)^gamma (1 - gamma p log p / (1 - p)); the weight is not detached.

    Args:
        log_p: log p in nats, any shape.
        complement: 1 - p.
        gamma: at least 0; None for FLSD-53, gamma 5 where p < 0.2 and 3 elsewhere.

    Returns:
        the same shape, in nats.
    """
    power = torch.where(log_p.exp() < LOW_PROBABILITY, LOW_GAMMA, GAMMA).to(log_p.dtype) if gamma is None else gamma
    return -(complement**power) * log_p


@BASES.register("focal")
class Focal(Base):
    """Mean focal loss of the label; the classes of a smoothed or mixed target count by their weight in it.

    Args:
        gamma: at least 0; 0 is cross entropy. 3 is the choice of Mukhoti et al., 2 that of Lin et al.
        schedule: 53 for FLSD-53, which has gammas of its own, or None.
        smoothing: label smoothing of class indices, in [0, 1).
        class_weight: (K,) numbers of at least 0.

    Raises:
        ValueError: a hyper-parameter out of range, another schedule, or a gamma beside a schedule.
    """

    WEIGHS_SAMPLES = True

    def __init__(
        self,
        gamma: float = 3.0,
        schedule: int | None = None,
        smoothing: float = 0.0,
        *,
        class_weight: Sequence[float] | None = None,
    ):
        super().__init__(class_weight)
        self.gamma: float | None = check_number("gamma", gamma, low=0.0)
        self.smoothing = check_number("smoothing", smoothing, 0.0, 1.0, below=True)
        if schedule is not None:
            if schedule != SCHEDULE:
                raise ValueError(f"schedule must be 53 (gamma 5 where p < 0.2, else 3) or None, got {schedule}")
            if gamma != GAMMA:
                raise ValueError(f"schedule=53 has gammas of its own, 5 and 3: leave out gamma={gamma:g}")
            self.gamma = None

    def forward(self, logits: Tensor, labels: Labels) -> tuple[Tensor, dict[str, Tensor]]:
        return self.value(logits, labels), {}

    def value(self, logits: Tensor, labels: Labels) -> Tensor:
        class_weight = self.class_weight_for(logits)
        return labels.mean(self.per_sample(logits, labels, class_weight), size_of_samples(labels, class_weight))

    def per_sample(self, logits: Tensor, labels: Labels, class_weight: Tensor | None = None) -> Tensor:
        """(M,) in nats."""
        log_p, complement = log_probabilities(logits)
        values = focal(log_p, complement, self.gamma)
        if class_weight is not None:
            values = values * class_weight
        if labels.dense is not None:
            return (labels.dense.to(values.dtype) * values).sum(dim=1)
        hard = values.gather(1, labels.index.unsqueeze(1)).squeeze(1)
        return (1.0 - self.smoothing) * hard + self.smoothing * values.mean(dim=1) if self.smoothing else hard
