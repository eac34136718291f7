"""Logit normalization (LogitNorm): cross entropy of the direction of the logits (Wei et al. 2022, arXiv 2205.09310)."""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Tensor

from sosr_timm.losses.base import BASES, Base, check_number
from sosr_timm.losses.cross_entropy import cross_entropy, size_of_samples
from sosr_timm.losses.log_probabilities import log_probabilities
from sosr_timm.losses.targets import Labels

NORM_OFFSET = 1e-7  # of the authors' code: the norm of logits that are all 0 can be divided by


def normalized(logits: Tensor, temperature: float) -> Tensor:
    """z / (temperature * (norm(z) + 1e-7)), row by row, with the Euclidean norm.

    Args:
        logits: (M, K) float32 or float64.
        temperature: more than 0; the norm of the result is 1 / temperature.

    Returns:
        (M, K).
    """
    return logits / (temperature * (torch.linalg.vector_norm(logits, dim=1, keepdim=True) + NORM_OFFSET))


@BASES.register("logitnorm")
class LogitNormalization(Base):
    """Mean cross entropy of the normalized logits.

    It does not change when all logits of a sample are multiplied by a number. A model is evaluated on the logits as
    they are.

    Args:
        temperature: more than 0; 0.04 is the paper's.
        smoothing: label smoothing of class indices, in [0, 1).
        class_weight: (K,) numbers of at least 0.

    Raises:
        ValueError: a hyper-parameter out of range.
    """

    WEIGHS_SAMPLES = True

    def __init__(
        self, temperature: float = 0.04, smoothing: float = 0.0, *, class_weight: Sequence[float] | None = None
    ):
        super().__init__(class_weight)
        self.temperature = check_number("temperature", temperature, low=0.0, above=True)
        self.smoothing = check_number("smoothing", smoothing, 0.0, 1.0, below=True)

    def forward(self, logits: Tensor, labels: Labels) -> tuple[Tensor, dict[str, Tensor]]:
        return self.value(logits, labels), {}

    def value(self, logits: Tensor, labels: Labels) -> Tensor:
        class_weight = self.class_weight_for(logits)
        return labels.mean(self.per_sample(logits, labels, class_weight), size_of_samples(labels, class_weight))

    def per_sample(self, logits: Tensor, labels: Labels, class_weight: Tensor | None = None) -> Tensor:
        """(M,) in nats."""
        log_p, _ = log_probabilities(normalized(logits, self.temperature))
        return cross_entropy(log_p, labels, self.smoothing, class_weight)
