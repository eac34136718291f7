"""Cross entropy with hard, smoothed or mixed labels (label smoothing: Szegedy et al. 2016, arXiv 1512.00567)."""

from __future__ import annotations

from collections.abc import Sequence

from torch import Tensor

from sosr_timm.losses.base import BASES, Base, check_number
from sosr_timm.losses.targets import Labels


def cross_entropy(
    log_probabilities: Tensor, labels: Labels, smoothing: float = 0.0, class_weight: Tensor | None = None
) -> Tensor:
    """Cross entropy of each sample, -sum_k w_k t_k log p_k.

    A class index y with smoothing s stands for t = (1 - s) * onehot(y) + s / K, over all K classes, as in torch and
    timm. Dense targets are taken as they are: whoever mixed them has smoothed them.

    Args:
        log_probabilities: (M, K), log p in nats.
        labels: the labels.
        smoothing: s, in [0, 1); for class indices only.
        class_weight: w, (K,); 1 for every class where not given.

    Returns:
        (M,) in nats.

    Raises:
        IndexError or RuntimeError: torch's own, for a class index outside [0, K).
    """
    if class_weight is not None:
        log_probabilities = log_probabilities * class_weight
    if labels.dense is not None:
        return -(labels.dense.to(log_probabilities.dtype) * log_probabilities).sum(dim=1)
    hard = -log_probabilities.gather(1, labels.index.unsqueeze(1)).squeeze(1)
    if not smoothing:
        return hard
    return (1.0 - smoothing) * hard - smoothing * log_probabilities.mean(dim=1)


def size_of_samples(labels: Labels, class_weight: Tensor | None) -> Tensor | None:
    """(M,), what each sample adds to the divisor of the mean: the weight of its class; None where that is 1.

    It is 1 without class weights, and with them for dense targets too: both as in `torch.nn.functional.cross_entropy`.
    """
    return None if class_weight is None or labels.index is None else class_weight[labels.index]


@BASES.register("ce")
class CrossEntropy(Base):
    """Mean cross entropy, equal to torch's for the same arguments.

    Args:
        smoothing: label smoothing of class indices, in [0, 1).
        class_weight: (K,) numbers of at least 0.

    Raises:
        ValueError: smoothing outside [0, 1).
    """

    WEIGHS_SAMPLES = True

    def __init__(self, smoothing: float = 0.0, *, class_weight: Sequence[float] | None = None):
        super().__init__(class_weight)
        self.smoothing = check_number("smoothing", smoothing, 0.0, 1.0, below=True)

    def forward(self, logits: Tensor, labels: Labels) -> tuple[Tensor, dict[str, Tensor]]:
        return self.value(logits, labels), {}

    def value(self, logits: Tensor, labels: Labels) -> Tensor:
        class_weight = self.class_weight_for(logits)
        values = cross_entropy(logits.log_softmax(dim=1), labels, self.smoothing, class_weight)
        return labels.mean(values, size_of_samples(labels, class_weight))
