"""Telling images of another data set from those of a model's own by how confident it is of them."""

from __future__ import annotations

from typing import Any

import numpy as np

from sosr_timm.metrics.confidence import OOD_SCORES
from sosr_timm.metrics.samples import Samples
from sosr_timm.metrics.selective import Ranking, accepted, auroc

RECALL = 0.95


def detection(inside: np.ndarray, outside: np.ndarray) -> dict[str, float]:
    """How well a score, larger for the model's own data, tells two sets of images apart; ties are exact.

    Args:
        inside: (N,) of the model's own data set.
        outside: (M,) of the other one.

    Returns:
        Fractions: `auroc`, the probability that an image of the own set has the larger score, where ties count half;
        `fpr95`, the share of the other set that is accepted by the largest threshold that accepts at least 95 % of the
        own set (score >= threshold, so a threshold takes all its ties); `aupr_in` and `aupr_out`, average precision
        with the own and with the other set as the positive class.

    Raises:
        ValueError: a set is empty.
    """
    if not len(inside) or not len(outside):
        raise ValueError("both sets need an image")
    foreign = np.repeat([False, True], [len(inside), len(outside)])
    ranking = Ranking.of(np.concatenate([inside, outside]), foreign)
    own, other = ranking.counts - ranking.errors, ranking.errors
    threshold = np.searchsorted(own.cumsum(), accepted(RECALL, len(inside)))
    return {
        "auroc": auroc(ranking),
        "fpr95": float(other.cumsum()[threshold] / len(outside)),
        "aupr_in": average_precision(own, other),
        "aupr_out": average_precision(other[::-1], own[::-1]),
    }


def average_precision(positives: np.ndarray, negatives: np.ndarray) -> float:
    """Sum over thresholds of the gain in recall times the precision there, without interpolation.

    Args:
        positives: (G,) positive samples of each group of ties, the best score first.
        negatives: (G,) negative ones.
    """
    right = positives.cumsum()
    precision = right / (right + negatives.cumsum())
    return float((positives * precision).sum() / right[-1])


def out_of_distribution(inside: Samples, outside: Samples) -> dict[str, Any]:
    """Detection of another data set by every score.

    Returns:
        `count`, the images of the other set, and what `detection` gives for `max_softmax`, `max_logit`, `energy` and
        `entropy`.
    """
    scores = {name: detection(inside.scores[name], outside.scores[name]) for name in OOD_SCORES}
    return {"count": len(outside.target), **scores}
