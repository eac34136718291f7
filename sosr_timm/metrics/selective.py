"""Selective classification: the risk of the predictions that remain when the least confident ones are rejected.

Equally confident samples are accepted in no order that means anything. Every value here is the mean over all their
orders: within a group of ties the errors among the first i are those of its share. So no value depends on the order of
the data set.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Any

import numpy as np

from sosr_timm.metrics.confidence import CONFIDENCES, P_NORM
from sosr_timm.metrics.samples import Samples

COVERAGES = (80, 90, 95)  # percent
POINTS = 100  # of a stored curve


@dataclass(frozen=True)
class Ranking:
    """Samples in groups of equal confidence, the most confident first.

    Attributes:
        counts: (..., G) samples of each group.
        errors: (..., G) those that are wrong.
    """

    counts: np.ndarray
    errors: np.ndarray

    @classmethod
    def of(cls, confidence: np.ndarray, wrong: np.ndarray) -> Ranking:
        """The ranking of (N,) confidences, without NaN, and (N,) bool."""
        if not len(confidence):
            raise ValueError("there are no samples to rank")
        order, starts = tie_groups(confidence)
        ends = np.append(starts[1:], len(order))
        return cls(ends - starts, np.add.reduceat(wrong[order].astype(np.int64), starts))

    @property
    def before(self) -> tuple[np.ndarray, np.ndarray]:
        """(..., G) samples and errors before each group."""
        return self.counts.cumsum(axis=-1) - self.counts, self.errors.cumsum(axis=-1) - self.errors

    def accepted_errors(self) -> np.ndarray:
        """(N,) the expected errors among the i most confident samples, for i from 1 to N; for one ranking."""
        samples, errors = (np.repeat(values, self.counts) for values in self.before)
        rate = np.repeat(self.errors / self.counts, self.counts)
        return errors + rate * (np.arange(1, len(rate) + 1) - samples)


def tie_groups(confidence: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """The (N,) samples from the most to the least confident, and where among them each group of ties starts."""
    order = np.argsort(-confidence, kind="stable")
    ordered = confidence[order]
    return order, np.flatnonzero(np.append(True, ordered[1:] != ordered[:-1]))


def aurc(ranking: Ranking) -> float:
    """Area under the risk-coverage curve: the mean over i of the error rate of the i most confident samples.

    1/N sum over i of errors(i) / i, a fraction in [0, 1] (Geifman and El-Yaniv 2017, arXiv 1705.08500).
    """
    errors = ranking.accepted_errors()
    return math.fsum(errors / np.arange(1, len(errors) + 1)) / len(errors)


def best_aurc(count: int, wrong: int) -> float:
    """AURC of a confidence that ranks every right sample above every wrong one."""
    return math.fsum(number / (count - wrong + number) for number in range(1, wrong + 1)) / count


def augrc(ranking: Ranking) -> np.ndarray:
    """Area under the generalised risk-coverage curve: risk is the share of all samples that are accepted and wrong.

    The area below the straight lines between the points (i / N, errors(i) / N) from (0, 0) on, in [0, 1/2]; it equals
    (1 - AUROC) acc (1 - acc) + (1 - acc)^2 / 2 (Traub et al. 2024, arXiv 2407.01032, equation 6).

    Returns:
        (...) one value for each ranking.
    """
    _, before = ranking.before
    total = ranking.counts.sum(axis=-1)
    return (ranking.counts * (before + 0.5 * ranking.errors)).sum(axis=-1) / total**2


def auroc(ranking: Ranking) -> float | None:
    """The probability that a right sample is more confident than a wrong one, where ties count half.

    None where all are right or all are wrong.
    """
    right = ranking.counts - ranking.errors
    before = right.cumsum() - right
    pairs = int(right.sum()) * int(ranking.errors.sum())
    return float((ranking.errors * (before + 0.5 * right)).sum() / pairs) if pairs else None


def accepted(coverage: float, count: int) -> int:
    """How many of `count` samples a coverage in (0, 1] takes: the fewest that are at least this share."""
    return max(1, math.ceil(coverage * count - 1e-9))


def risk_at(ranking: Ranking, coverage: float) -> float:
    """The error rate, a fraction, of the share of the samples that are the most confident."""
    errors = ranking.accepted_errors()
    number = accepted(coverage, len(errors))
    return float(errors[number - 1] / number)


def selective_of(confidence: np.ndarray, wrong: np.ndarray) -> dict[str, Any]:
    """The metrics of one confidence.

    Args:
        confidence: (N,), larger where the model is surer.
        wrong: (N,) bool.

    Returns:
        `aurc`; `e_aurc`, what it exceeds that of a perfect ranking by; `augrc`; `risk_at_80`, `risk_at_90` and
        `risk_at_95`, error rates at these coverages in percent; `auroc` of right against wrong samples, or None; and
        `risk`, the error rate at coverages of 1 % to 100 %. Fractions.
    """
    ranking = Ranking.of(confidence, wrong)
    area, errors, count = aurc(ranking), ranking.accepted_errors(), len(wrong)
    numbers = [accepted(point / POINTS, count) for point in range(1, POINTS + 1)]
    return {
        "aurc": area,
        "e_aurc": area - best_aurc(count, int(wrong.sum())),
        "augrc": float(augrc(ranking)),
        **{f"risk_at_{percent}": risk_at(ranking, percent / 100) for percent in COVERAGES},
        "auroc": auroc(ranking),
        "risk": [float(errors[number - 1] / number) for number in numbers],
    }


def selective_classification(samples: Samples, p: float = P_NORM) -> dict[str, Any]:
    """The metrics of selective classification by every confidence that the samples have.

    Args:
        samples: the predictions.
        p: that `p_norm` was computed with.

    Returns:
        `coverage`, the 100 coverages of the curves, and for each confidence what `selective_of` gives; with `p_norm`
        its `p` too.
    """
    found: dict[str, Any] = {"coverage": [point / POINTS for point in range(1, POINTS + 1)]}
    for name in CONFIDENCES:
        if name in samples.scores:
            found[name] = selective_of(samples.scores[name], ~samples.correct)
    if "p_norm" in found:
        found["p_norm"]["p"] = p
    return found
