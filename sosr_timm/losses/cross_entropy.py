"""Cross entropy with hard, smoothed or mixed labels (label smoothing: Szegedy et al. 2016, arXiv 1512.00567)."""

from __future__ import annotations

from torch import Tensor

from sosr_timm.losses.base import BASES, Base, check_number
from sosr_timm.losses.targets import Labels


def cross_entropy(log_probabilities: Tensor, labels: Labels, smoothing: float = 0.0) -> Tensor:
    """Cross entropy of each sample, -sum_k t_k log p_k.

    A class index y with smoothing s stands for t = (1 - s) * onehot(y) + s / K, over all K classes, as in torch and
    timm. Dense targets are taken as they are: whoever mixed them has smoothed them.

    Args:
        log_probabilities: (M, K), log p in nats.
        labels: the labels.
        smoothing: s, in [0, 1); for class indices only.

    Returns:
        (M,) in nats.

    Raises:
        IndexError or RuntimeError: torch's own, for a class index outside [0, K).
    """
    if labels.dense is not None:
        return -(labels.dense.to(log_probabilities.dtype) * log_probabilities).sum(dim=1)
    hard = -log_probabilities.gather(1, labels.index.unsqueeze(1)).squeeze(1)
    if not smoothing:
        return hard
    return (1.0 - smoothing) * hard - smoothing * log_probabilities.mean(dim=1)


@BASES.register("ce")
class CrossEntropy(Base):
    """Mean cross entropy.

    Args:
        smoothing: label smoothing of class indices, in [0, 1).

    Raises:
        ValueError: smoothing outside [0, 1).
    """

    def __init__(self, smoothing: float = 0.0):
        super().__init__()
        self.smoothing = check_number("smoothing", smoothing, 0.0, 1.0, below=True)

    def forward(self, logits: Tensor, labels: Labels) -> tuple[Tensor, dict[str, Tensor]]:
        return self.value(logits, labels), {}

    def value(self, logits: Tensor, labels: Labels) -> Tensor:
        return cross_entropy(logits.log_softmax(dim=1), labels, self.smoothing).mean()
