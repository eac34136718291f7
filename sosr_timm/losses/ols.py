"""Online label smoothing (OLS): the mean prediction of a class in one epoch is its soft label in the next.

Source: Zhang et al. 2021, "Delving Deep into Label Smoothing", arXiv 2011.12562.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence

import torch
from torch import Tensor

from sosr_timm.losses.base import BASES, Base, check_number, is_training, lasting_tensors, state_dtype
from sosr_timm.losses.cross_entropy import cross_entropy, size_of_samples
from sosr_timm.losses.targets import Labels
from sosr_timm.registry import close_names

LARGEST_STATE = 1 << 34  # bytes
SMOOTHING_OF_INIT = 0.1  # label smoothing of the first epoch's soft labels with init="smoothing"


def soft_label_cross_entropy(
    log_probabilities: Tensor, labels: Labels, soft_labels: Tensor, class_weight: Tensor | None = None
) -> Tensor:
    """Cross entropy of each sample with the soft label of its class, -sum_k w_k S[y, k] log p_k.

    Args:
        log_probabilities: (M, K), log p in nats.
        labels: the labels; a mixed sample takes the soft labels of its classes, mixed by its weights.
        soft_labels: S, (K, K), row y is the soft label of class y.
        class_weight: w, (K,); 1 for every class where not given.

    Returns:
        (M,) in nats.
    """
    if class_weight is not None:
        log_probabilities = log_probabilities * class_weight
    if labels.index is not None:
        soft = soft_labels[labels.index].to(log_probabilities.dtype)
    else:
        soft = labels.weights.to(log_probabilities.dtype) @ soft_labels.to(log_probabilities.dtype)
    return -(soft * log_probabilities).sum(dim=1)


def first_soft_labels(init: str, num_classes: int, dtype: torch.dtype, device: torch.device) -> Tensor:
    """(K, K), the soft labels of the first epoch: all 1/K, all 0, or labels smoothed by 0.1 over all K classes."""
    uniform = torch.full((num_classes, num_classes), 1.0 / num_classes, dtype=dtype, device=device)
    if init == "uniform":
        return uniform
    if init == "zeros":
        return torch.zeros_like(uniform)
    identity = torch.eye(num_classes, dtype=dtype, device=device)
    return (1.0 - SMOOTHING_OF_INIT) * identity + SMOOTHING_OF_INIT * uniform


def bytes_of_state(num_classes: int, dtype: torch.dtype = torch.float64) -> int:
    """Bytes that OLS keeps: two (K, K) matrices and a count for each class."""
    return (2 * num_classes**2 + num_classes) * dtype.itemsize


def check_state(num_classes: int, dtype: torch.dtype) -> None:
    """Refuse a state that grows with the square of the classes before it takes the memory.

    Raises:
        ValueError: more than `LARGEST_STATE`, with the bytes that it would need.
    """
    needed = bytes_of_state(num_classes, dtype)
    if needed > LARGEST_STATE:
        raise ValueError(
            f"ols keeps a soft label for each class, so {num_classes:,} classes need {needed:,} bytes; at most "
            f"{LARGEST_STATE:,} (32,767 classes in float64): choose a base without it, such as ce(smoothing=0.1)"
        )


@BASES.register("ols")
class OnlineLabelSmoothing(Base):
    """alpha * CE(labels) + (1 - alpha) * CE(soft labels of the previous epoch).

    Training batches add the probabilities of correctly classified samples with one label to a sum for each class;
    `end_epoch` makes their means the new soft labels, and a class without a correct sample gets the uniform one.
    The state is three float64 tensors: 16 K^2 + 8 K bytes, 16 MB for 1,000 classes.

    Args:
        alpha: weight of the hard part, in [0, 1].
        init: soft labels of the first epoch: "uniform", "zeros" (as in the authors' CIFAR code) or "smoothing".
        num_classes: K; None takes it from the first batch.
        class_weight: (K,) numbers of at least 0, for both cross entropies.

    Raises:
        ValueError: alpha out of range, an unknown init, or more classes than `LARGEST_STATE` holds; in a call,
            logits with another number of classes.
    """

    WEIGHS_SAMPLES = True
    NEEDS_END_EPOCH = True
    INITS = ("uniform", "zeros", "smoothing")
    STATE = ("soft_labels", "probability_sum", "correct_count")
    ADDITIVE = ("probability_sum", "correct_count")

    def __init__(
        self,
        alpha: float = 0.5,
        init: str = "uniform",
        *,
        num_classes: int | None = None,
        class_weight: Sequence[float] | None = None,
    ):
        super().__init__(class_weight)
        self.alpha = check_number("alpha", alpha, 0.0, 1.0)
        if init not in self.INITS:
            raise ValueError(f"unknown init {init!r}: {close_names(str(init), self.INITS)}")
        self.init = init
        for name in self.STATE:
            self.register_buffer(name, None)
        if num_classes is not None:
            self._allocate(num_classes, torch.get_default_device())

    def _allocate(self, num_classes: int, device: torch.device) -> None:
        dtype = state_dtype(device)
        check_state(num_classes, dtype)
        with lasting_tensors():
            self.soft_labels = first_soft_labels(self.init, num_classes, dtype, device)
            self.probability_sum = torch.zeros(num_classes, num_classes, dtype=dtype, device=device)
            self.correct_count = torch.zeros(num_classes, dtype=dtype, device=device)

    def _move(self, device: torch.device) -> None:
        # A loss is easily forgotten when the model is moved, and a state loaded before the first batch is on the CPU.
        with lasting_tensors():
            for name in self.STATE:
                setattr(self, name, getattr(self, name).to(device, state_dtype(device)))

    def prepare(self, logits: Tensor) -> Tensor:
        """The present soft labels, (K, K), on the device of the logits; the first training batch allocates the state.

        An evaluation before that allocates none: under `torch.inference_mode` it would be tensors that training cannot
        modify.

        Raises:
            ValueError: the soft labels have another number of classes than the logits.
        """
        classes, device = logits.shape[1], logits.device
        if self.soft_labels is None:
            if not is_training(self, logits):
                check_state(classes, state_dtype(device))
                return first_soft_labels(self.init, classes, state_dtype(device), device)
            self._allocate(classes, device)
        if self.soft_labels.shape[0] != classes:
            raise ValueError(f"ols has soft labels of {self.soft_labels.shape[0]} classes, logits {classes}")
        if self.soft_labels.device != device:
            self._move(device)
        return self.soft_labels

    def forward(self, logits: Tensor, labels: Labels) -> tuple[Tensor, dict[str, Tensor]]:
        soft_labels = self.prepare(logits)
        log_p = logits.log_softmax(dim=1)
        if is_training(self, logits):
            self._accumulate(log_p.detach(), labels)
        return self._mean(log_p, labels, soft_labels), {}

    def value(self, logits: Tensor, labels: Labels) -> Tensor:
        return self._mean(logits.log_softmax(dim=1), labels, self.prepare(logits))

    def _mean(self, log_p: Tensor, labels: Labels, soft_labels: Tensor) -> Tensor:
        class_weight = self.class_weight_for(log_p)
        hard = cross_entropy(log_p, labels, 0.0, class_weight)
        soft = soft_label_cross_entropy(log_p, labels, soft_labels, class_weight)
        values = self.alpha * hard + (1.0 - self.alpha) * soft
        return labels.mean(values, size_of_samples(labels, class_weight))

    def _accumulate(self, log_p: Tensor, labels: Labels) -> None:
        if labels.index is not None:
            index = labels.index
            counted = log_p.argmax(dim=1) == index
        else:
            index = labels.weights.argmax(dim=1)
            counted = (log_p.argmax(dim=1) == index) & (labels.mask().sum(dim=1) == 1)
        counted = counted.to(self.correct_count.dtype)
        if labels.sample_weight is not None:
            counted = counted * labels.sample_weight.detach().to(counted.dtype)
        self.probability_sum.index_add_(0, index, log_p.exp().to(counted.dtype) * counted.unsqueeze(1))
        self.correct_count.index_add_(0, index, counted)

    def end_epoch(self, sum_over_ranks: Callable[[Tensor], Tensor] | None = None) -> None:
        if self.soft_labels is None:
            return
        total, count = self.probability_sum, self.correct_count
        if sum_over_ranks is not None:
            total, count = sum_over_ranks(total), sum_over_ranks(count)
        uniform = 1.0 / len(count)
        unseen = count.unsqueeze(1) == 0
        means = total / count.unsqueeze(1).masked_fill(unseen, 1.0)
        self.soft_labels.copy_(means.masked_fill(unseen, uniform))
        self.probability_sum.zero_()
        self.correct_count.zero_()

    def _load_from_state_dict(self, state_dict, prefix, *args, **kwargs):
        # A stored state arrives before the first batch has told the number of classes: make room for it.
        stored = state_dict.get(prefix + "soft_labels")
        if stored is not None and self.soft_labels is None:
            self._allocate(stored.shape[0], stored.device)
        super()._load_from_state_dict(state_dict, prefix, *args, **kwargs)
