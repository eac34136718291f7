"""Cross entropy with hard, smoothed or mixed labels (label smoothing: Szegedy et al. 2016, arXiv 1512.00567)."""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Tensor

from sosr_timm.losses.base import BASES, Base, check_number, lasting_tensors
from sosr_timm.losses.targets import Labels

CHANGING_ON_MIXED = (
    "label smoothing that changes in training (end=...) needs class indices: Mixup and CutMix smooth their targets "
    "themselves, by one fixed value"
)


def cross_entropy(
    log_probabilities: Tensor, labels: Labels, smoothing: float | Tensor = 0.0, class_weight: Tensor | None = None
) -> Tensor:
    """Cross entropy of each sample, -sum_k w_k t_k log p_k.

    A class index y with smoothing s stands for t = (1 - s) * onehot(y) + s / K, over all K classes, as in torch and
    timm. Dense targets are used as they are: they are smoothed already.

    Args:
        log_probabilities: (M, K), log p in nats.
        labels: the labels.
        smoothing: s, in [0, 1); for class indices only; a scalar tensor where it changes in training.
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
    if not isinstance(smoothing, Tensor) and not smoothing:
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
        end: label smoothing in the last epoch, in [0, 1), when it goes there linearly from `smoothing` as training
            progresses; None keeps it as it is.
        class_weight: (K,) numbers of at least 0.
        soft_targets: Mixup or CutMix will mix the targets, and smooth them by a value that does not change.

    Raises:
        ValueError: a smoothing outside [0, 1), or mixed targets with one that changes.
    """

    WEIGHS_SAMPLES = True

    def __init__(
        self,
        smoothing: float = 0.0,
        end: float | None = None,
        *,
        class_weight: Sequence[float] | None = None,
        soft_targets: bool = False,
    ):
        super().__init__(class_weight)
        self.start = check_number("smoothing", smoothing, 0.0, 1.0, below=True)
        self.end = None if end is None else check_number("end", end, 0.0, 1.0, below=True)
        self.follows_progress = self.end is not None and self.end != self.start
        if self.end is None:
            self.smoothing: float | Tensor = self.start
            return
        if soft_targets:
            raise ValueError(CHANGING_ON_MIXED)
        # A tensor, because a compiled loss would be compiled again for every new value of a Python number.
        with lasting_tensors():
            self.register_buffer("smoothing", torch.tensor(self.start, dtype=torch.float64))

    def set_progress(self, progress: float) -> None:
        if self.end is not None:
            self.smoothing.fill_(self.start + (self.end - self.start) * progress)

    def forward(self, logits: Tensor, labels: Labels) -> tuple[Tensor, dict[str, Tensor]]:
        return self.value(logits, labels), {}

    def value(self, logits: Tensor, labels: Labels) -> Tensor:
        class_weight = self.class_weight_for(logits)
        values = cross_entropy(logits.log_softmax(dim=1), labels, self.smoothing_of(labels), class_weight)
        return labels.mean(values, size_of_samples(labels, class_weight))

    def smoothing_of(self, labels: Labels) -> float | Tensor:
        """The present label smoothing, for class indices.

        Raises:
            ValueError: mixed targets with a smoothing that changes.
        """
        if self.end is not None and labels.dense is not None:
            raise ValueError(f"ce: {CHANGING_ON_MIXED}")
        return self.smoothing
