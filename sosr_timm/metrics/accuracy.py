"""Top-k accuracy, one value per sample, as timm's `ClassificationEvaluator` counts it."""

from __future__ import annotations

import torch
from torch import Tensor


def check_batch(logits: Tensor, target: Tensor) -> None:
    """Refuse what is no batch of single-label predictions; looks at shapes and dtypes only, never at values.

    Args:
        logits: (M, K) floating point.
        target: (M,) integers.

    Raises:
        ValueError: a shape or dtype is another one.
    """
    if logits.ndim != 2 or target.shape != logits.shape[:1]:
        raise ValueError(f"expected logits (M, K) and target (M,), not {tuple(logits.shape)} and {tuple(target.shape)}")
    if not logits.is_floating_point() or target.is_floating_point() or target.is_complex():
        raise ValueError(f"expected floating-point logits and integer targets, not {logits.dtype} and {target.dtype}")


def top_correct(logits: Tensor, target: Tensor, k: int = 5) -> tuple[Tensor, Tensor]:
    """Whether the label is the best guess, and whether it is among the best k.

    One `torch.topk` answers both, as in timm. Among equal logits `torch.topk` decides which come first; torch promises
    no order there, so with ties at the edge a row may count either way, the same way each time on one device.

    Args:
        logits: (M, K) floating point; NaN ranks above every number, as in `torch.topk`.
        target: (M,) integers; a value that is no class is never correct.
        k: how many guesses count; with fewer classes than k, all of them.

    Returns:
        Two (M,) bool tensors: correct at the first guess, correct within k guesses.

    Raises:
        ValueError: shapes or dtypes are not those above.
    """
    check_batch(logits, target)
    guesses = logits.topk(min(k, logits.shape[1]), dim=1).indices
    hits = guesses == target[:, None].to(torch.int64)
    return hits[:, 0], hits.any(dim=1)
