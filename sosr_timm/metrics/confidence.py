"""Confidences: one number per image from its logits, larger where the model is surer."""

from __future__ import annotations

import torch
from torch import Tensor

# By which predictions may be accepted or rejected; `energy` is for telling other data apart.
CONFIDENCES = ("max_softmax", "max_logit", "margin", "entropy", "p_norm")
OOD_SCORES = ("max_softmax", "max_logit", "energy", "entropy")
P_NORM = 5.0


def normalized_max_logit(logits: Tensor, p: float = P_NORM) -> Tensor:
    """The largest logit over the p-norm of all, both after the mean was subtracted (MaxLogit-pNorm, arXiv 2305.15508).

    Args:
        logits: (M, K) floating point; a class that may not be guessed has minus infinity and is left out.
        p: of the norm, above 0; infinity is the largest absolute value.

    Returns:
        (M,) in [0, 1], same dtype; 0 where all logits are equal.
    """
    allowed = logits > -torch.inf
    mean = logits.masked_fill(~allowed, 0.0).sum(dim=1, keepdim=True) / allowed.sum(dim=1, keepdim=True)
    centred = (logits - mean).masked_fill(~allowed, 0.0)
    # By the largest first, so that no power overflows or vanishes.
    largest = centred.abs().amax(dim=1, keepdim=True)
    scaled = centred / largest.masked_fill(largest == 0, 1.0)
    norm = torch.linalg.vector_norm(scaled, ord=p, dim=1)
    return scaled.amax(dim=1) / norm.masked_fill(norm == 0, 1.0)


def confidences(logits: Tensor, p: float = P_NORM) -> dict[str, Tensor]:
    """Every confidence of a batch.

    Args:
        logits: (M, K) floating point.
        p: of `p_norm`.

    Returns:
        (M,) each, same dtype: `max_softmax`; `max_logit`; `margin`, the difference between the two largest
        probabilities; `entropy`, minus the entropy of the probabilities in nats; `p_norm`, the normalised largest
        logit; `energy`, log sum exp of the logits, which is minus the free energy at temperature 1 (Liu et al. 2020,
        arXiv 2010.03759).
    """
    energy = logits.logsumexp(dim=1)
    largest = logits.topk(min(2, logits.shape[1]), dim=1).values
    probabilities = (largest - energy[:, None]).exp()
    everything = logits.softmax(dim=1)
    return {
        "max_softmax": probabilities[:, 0],
        "max_logit": largest[:, 0],
        "margin": probabilities[:, 0] - (probabilities[:, 1] if logits.shape[1] > 1 else 0.0),
        "entropy": -torch.special.entr(everything).sum(dim=1),
        "p_norm": normalized_max_logit(logits, p),
        "energy": energy,
    }
