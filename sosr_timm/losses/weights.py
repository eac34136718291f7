"""Which samples count, and how much: positions as samples, weights of samples and of classes."""

from __future__ import annotations

import math
from collections.abc import Sequence
from numbers import Real

import torch
from torch import Tensor


def as_rows(logits: Tensor, target: Tensor, sample_weight: Tensor | None) -> tuple[Tensor, Tensor, Tensor | None]:
    """Flatten logits with further dimensions, such as those of a segmentation, to one row for each position.

    Args:
        logits: (N, K, d1, ...) floating point.
        target: (N, d1, ...) integers, or (N, K, d1, ...) floats.
        sample_weight: (N, d1, ...), or (N,) for all positions of each image, or None.

    Returns:
        logits (M, K), target (M,) or (M, K), and sample weights (M,) or None, where M = N * d1 * ... .

    Raises:
        ValueError: the shapes do not match.
    """
    shape = tuple(logits.shape)
    places = (shape[0], *shape[2:])
    if not isinstance(target, Tensor):
        raise ValueError(f"target must be a tensor, got {type(target).__name__}")
    if tuple(target.shape) not in (places, shape):
        raise ValueError(
            f"for logits of shape {shape} a target has shape {places} (integers) or {shape} (floats), "
            f"got {tuple(target.shape)}"
        )
    if isinstance(sample_weight, Tensor):
        if tuple(sample_weight.shape) == places[:1]:
            sample_weight = sample_weight.reshape(-1, *[1] * (len(places) - 1)).expand(places)
        if tuple(sample_weight.shape) != places:
            raise ValueError(
                f"for logits of shape {shape} sample_weight has shape {places} or {places[:1]}, "
                f"got {tuple(sample_weight.shape)}"
            )
        sample_weight = sample_weight.reshape(-1)
    target = classes_last(target) if tuple(target.shape) == shape else target.reshape(-1)
    return classes_last(logits), target, sample_weight


def classes_last(values: Tensor) -> Tensor:
    """Flatten (N, K, d1, ...) to (M, K)."""
    return values.movedim(1, -1).reshape(-1, values.shape[1])


def check_sample_weight(sample_weight: Tensor, rows: int) -> None:
    """Check that sample weights are a vector of numbers of at least 0.

    The values are checked on the CPU only: elsewhere the check would wait for the device.

    Raises:
        ValueError: they are not.
    """
    if not isinstance(sample_weight, Tensor):
        raise ValueError(f"sample_weight must be a tensor, got {type(sample_weight).__name__}")
    if sample_weight.is_complex():
        raise ValueError(f"sample_weight must hold real numbers, got {sample_weight.dtype}")
    if tuple(sample_weight.shape) != (rows,):
        raise ValueError(f"sample_weight must have shape ({rows},), got {tuple(sample_weight.shape)}")
    has_values = type(sample_weight) is Tensor and sample_weight.device.type == "cpu"
    if has_values and not torch.compiler.is_compiling() and not torch._C._are_functorch_transforms_active():
        values = sample_weight.detach()
        if not bool(((values >= 0) & (values < math.inf)).all()):
            raise ValueError("sample_weight must hold finite numbers of at least 0")


def check_class_weight(class_weight: Sequence[float] | Tensor, num_classes: int | None) -> list[float]:
    """Return class weights as a list of floats.

    Args:
        class_weight: a number of at least 0 for each class, not all of them 0.
        num_classes: K, or None where it is not known yet.

    Raises:
        ValueError: not a sequence of such numbers, or not K of them.
    """
    if isinstance(class_weight, Tensor):
        class_weight = class_weight.detach().tolist()
    numbers = list(class_weight) if isinstance(class_weight, Sequence) and not isinstance(class_weight, str) else None
    if numbers is None or not numbers or not all(isinstance(n, Real) and not isinstance(n, bool) for n in numbers):
        raise ValueError("class_weight must be a list or tensor of one number for each class")
    numbers = [float(number) for number in numbers]
    if num_classes is not None and len(numbers) != num_classes:
        raise ValueError(f"class_weight has {len(numbers)} numbers for {num_classes} classes")
    if not all(0.0 <= number < math.inf for number in numbers) or not any(numbers):
        raise ValueError("class_weight must hold finite numbers of at least 0, and one above 0")
    return numbers
