"""Calibration from logits: negative log-likelihood, Brier score, and confidence in bins of equal width or mass."""

from __future__ import annotations

import math

import numpy as np
import torch
from torch import Tensor


def in_float64(logits: Tensor) -> Tensor:
    """`logits` in the precision all sums are made in: float64, or float32 on MPS, which has no float64."""
    return logits.to(torch.float32 if logits.device.type == "mps" else torch.float64)


def negative_log_likelihood(log_probabilities: Tensor, target: Tensor) -> Tensor:
    """Minus the log-probability of the label.

    Args:
        log_probabilities: (M, K) log-softmax of the logits.
        target: (M,) int64 in [0, K).

    Returns:
        (M,) in nats, same dtype as the log-probabilities.
    """
    return -log_probabilities.gather(1, target[:, None]).squeeze(1)


def brier_score(probabilities: Tensor, target: Tensor) -> Tensor:
    """Multi-class Brier score: sum over classes of (p_k - 1[k = y])^2 (Brier 1950).

    Args:
        probabilities: (M, K) softmax of the logits.
        target: (M,) int64 in [0, K).

    Returns:
        (M,) in [0, 2], same dtype as the probabilities.
    """
    classes = torch.arange(probabilities.shape[1], device=target.device)
    wanted = (classes == target[:, None]).to(probabilities.dtype)
    return (probabilities - wanted).square().sum(dim=1)


def bin_edges(bins: int, device: torch.device | str = "cpu", dtype: torch.dtype = torch.float64) -> Tensor:
    """The bins + 1 edges i / bins of equal-width bins over [0, 1]."""
    return torch.arange(bins + 1, device=device, dtype=dtype) / bins


def bin_membership(confidence: Tensor, bins: int = 15) -> Tensor:
    """The equal-width bin (lo, hi] of each confidence (Guo et al. 2017, arXiv 1706.04599).

    The first bin also takes 0, the last one 1.0 and NaN. A mask and no scatter, so that sums over it are the same
    every time on a GPU too.

    Args:
        confidence: (M,) floating point in [0, 1].

    Returns:
        (M, bins) bool with one True in each row.
    """
    inner = bin_edges(bins, confidence.device, confidence.dtype)[1:-1]
    index = torch.bucketize(confidence, inner)  # right=False: edge[i-1] < value <= edge[i]
    return index[:, None] == torch.arange(bins, device=confidence.device)


def calibration_error(counts: list[float], confidence_sums: list[float], correct_sums: list[float]) -> float:
    """Expected calibration error: sum over bins of count/total * |accuracy - confidence|, a fraction in [0, 1].

    Args:
        counts: samples in each bin.
        confidence_sums: sum of their confidences.
        correct_sums: how many of them were right.
    """
    # count * |correct/count - confidence/count| needs no division, so an empty bin is no special case
    gaps = [abs(correct - confidence) for correct, confidence in zip(correct_sums, confidence_sums, strict=True)]
    return sum(gaps) / sum(counts)


def adaptive_calibration_error(confidence: np.ndarray, correct: np.ndarray, bins: int = 15) -> float:
    """Calibration error over bins of equal mass: the samples in order of confidence, cut into parts of one size.

    sum over bins of count/total * |accuracy - confidence|, a fraction in [0, 1] (Nguyen and O'Connor 2015,
    arXiv 1508.05154). Where the samples do not divide evenly the first bins have one more; among equal confidences the
    order of the data set decides.

    Args:
        confidence: (N,) float64.
        correct: (N,) bool.
        bins: how many parts; fewer where there are fewer samples.
    """
    order = np.argsort(confidence, kind="stable")
    parts = np.array_split(order, min(bins, len(order)))
    gaps = [abs(int(correct[part].sum()) - math.fsum(confidence[part])) for part in parts]
    return math.fsum(gaps) / len(order)
