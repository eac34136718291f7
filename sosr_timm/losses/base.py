"""What all terms of a loss share: registries, base classes, the precision inside, state that survives a cast."""

from __future__ import annotations

import contextlib
import math
from abc import ABC, abstractmethod
from collections.abc import Callable, Sequence

import torch
from torch import Tensor, nn

from sosr_timm.losses.targets import Labels
from sosr_timm.registry import Registry

BASES: Registry = Registry("base loss")
PENALTIES: Registry = Registry("penalty")


def working_precision(values: Tensor) -> Tensor:
    """Convert half precisions to float32, because bfloat16 cannot tell 0.99 from 1; leave float32 and float64."""
    return values.float() if values.dtype in (torch.float16, torch.bfloat16) else values


def is_training(module: nn.Module, logits: Tensor) -> bool:
    """Whether a batch is a training batch: training mode, gradients enabled, and logits that require one.

    A validation batch under `torch.no_grad` or `torch.inference_mode` is not, with or without a call of `eval()`.
    """
    return module.training and torch.is_grad_enabled() and logits.requires_grad


def check_number(
    name: str, value: float, low: float = -math.inf, high: float = math.inf, above: bool = False, below: bool = False
) -> float:
    """Return a hyper-parameter as a float.

    Args:
        name: its name, for the message.
        value: an int or a float; a bool is not a number here.
        low: smallest value allowed.
        high: largest value allowed.
        above: `low` itself is not allowed.
        below: `high` itself is not allowed.

    Raises:
        ValueError: `value` is not a number, not finite, or outside the interval.
    """
    if isinstance(value, bool) or not isinstance(value, (int, float)):
        raise ValueError(f"{name} must be a number, got {type(value).__name__}")
    try:
        number = float(value)
    except OverflowError:
        number = math.inf
    if not math.isfinite(number):
        raise ValueError(f"{name} must be finite")
    if number < low or number > high or (above and number == low) or (below and number == high):
        if math.isinf(high):
            raise ValueError(f"{name} must be {'more than' if above else 'at least'} {low:g}, got {number:g}")
        interval = f"{'(' if above else '['}{low:g}, {high:g}{')' if below else ']'}"
        raise ValueError(f"{name} must be in {interval}, got {number:g}")
    return number


class Term(nn.Module, ABC):
    """One term of a loss: a module that maps logits and labels to a weighted scalar and to values worth logging.

    The positional parameters of the constructor are the term's keywords in the grammar of `--loss`. Keyword-only
    parameters are arguments of `create_loss` that the term asks for: `num_classes`, `multi_label`, `soft_targets` and
    `class_weight`.

    Attributes:
        ADDITIVE: names of the state that `end_epoch` sums over the processes.
        NEEDS_END_EPOCH: the term does not work unless `end_epoch` is called after each pass over the training data.
        follows_progress: the term does not work unless `set_progress` is called.
    """

    ADDITIVE: tuple[str, ...] = ()
    NEEDS_END_EPOCH = False
    follows_progress = False

    @abstractmethod
    def forward(self, logits: Tensor, labels: Labels) -> tuple[Tensor, dict[str, Tensor]]:
        """Compute the term for a batch.

        Args:
            logits: (M, K) float32 or float64.
            labels: the target, as `read_target` reads it.

        Returns:
            the scalar that is added to the loss, and detached scalars to log beside it.
        """

    def set_progress(self, progress: float) -> None:
        """Set how far training is, 0 in the first epoch and 1 in the last."""

    def end_epoch(self, sum_over_ranks: Callable[[Tensor], Tensor] | None = None) -> None:
        """End an epoch of training."""

    def _apply(self, fn, recurse=True):
        # .half() and .to(dtype) must not reduce the precision of float64 sums and counts. So torch sees the term
        # without its state, a probe tells where the state goes, and only the device is followed. MPS has no float64.
        state = {name: buffer for name, buffer in self._buffers.items() if buffer is not None}
        self._buffers.update(dict.fromkeys(state))
        try:
            super()._apply(fn, recurse)
        finally:
            self._buffers.update(state)
        with lasting_tensors():
            for name, buffer in state.items():
                device = fn(torch.zeros((), dtype=torch.float32, device=buffer.device)).device
                self._buffers[name] = moved(buffer, device)
        return self


class Base(Term):
    """The first term of a loss. A loss has one.

    A base whose constructor has the keyword-only parameter `class_weight` supports class weights.

    Attributes:
        WEIGHS_SAMPLES: the term averages with `Labels.mean`, so it supports `ignore_index` and sample weights. Where it
            is False, they are refused.
        class_weight: (K,) float64, or None.
        weighs_classes: whether there are class weights.
    """

    WEIGHS_SAMPLES = False
    class_weight: Tensor | None

    def __init__(self, class_weight: Sequence[float] | None = None):
        super().__init__()
        with lasting_tensors():
            values = None if class_weight is None else torch.tensor(class_weight, dtype=torch.float64)
            self.register_buffer("class_weight", values, persistent=False)
        self.weighs_classes = values is not None  # a buffer takes a module longer to look up

    def class_weight_for(self, logits: Tensor) -> Tensor | None:
        """The class weights, (K,), on the device and in the dtype of the logits, or None.

        Raises:
            ValueError: the logits have another number of classes.
        """
        if not self.weighs_classes:
            return None
        if len(self.class_weight) != logits.shape[1]:
            raise ValueError(f"class_weight has {len(self.class_weight)} numbers, logits {logits.shape[1]} classes")
        if self.class_weight.device != logits.device:
            with lasting_tensors():
                self.class_weight = moved(self.class_weight, logits.device)
        return self.class_weight.to(logits.dtype)


class Penalty(Term):
    """A term that is added to a base: a weight times the mean over the batch of one value per sample.

    The mean leaves ignored samples out and applies sample weights; class weights have no effect on a penalty.

    Attributes:
        weight: factor of the mean, at least 0; a scalar tensor where it changes in training.
    """

    weight: float | Tensor

    @abstractmethod
    def per_sample(self, logits: Tensor, labels: Labels) -> Tensor:
        """(M,), the penalty of each sample before the weight."""

    def forward(self, logits: Tensor, labels: Labels) -> tuple[Tensor, dict[str, Tensor]]:
        return self.weighted_mean(self.per_sample(logits, labels), labels), {}

    def weighted_mean(self, values: Tensor, labels: Labels) -> Tensor:
        """weight * mean over the samples, in the dtype of the values even where the weight is float64.

        Args:
            values: (M,), of each sample.
            labels: what says which samples count, and how much.
        """
        return (self.weight * labels.mean(values)).to(values.dtype)


def moved(state: Tensor, device: torch.device) -> Tensor:
    """Return a sum or count on another device, in the dtype used there; uninitialized where it was on "meta"."""
    dtype = state_dtype(device)
    if state.is_meta and device.type != "meta":
        return torch.empty_like(state, device=device, dtype=dtype)
    return state.to("cpu", dtype).to(device) if dtype != state.dtype else state.to(device)


def lasting_tensors() -> contextlib.AbstractContextManager:
    """Context for creating state: tensors created in it can be modified at any time.

    A tensor created under `torch.inference_mode`, by a validation before the first epoch for instance, cannot be
    modified in training.
    """
    return torch.inference_mode(False)


def state_dtype(device: torch.device) -> torch.dtype:
    """The dtype of sums and counts: float64, but float32 on MPS, which has no float64."""
    return torch.float32 if device.type == "mps" else torch.float64
