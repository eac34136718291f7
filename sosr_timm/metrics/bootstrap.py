"""Two models on the same images: the paired bootstrap of any metric, means or not.

A resample draws as many images as there are, with replacement, each with the predictions of both models. It is held as
weights: how often each image was drawn. Every metric here is a function of a matrix of such weights, so that thousands
of resamples are a few products of matrices and sums along rows.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass

import numpy as np
import torch

from sosr_timm.metrics.calibration import bin_membership
from sosr_timm.metrics.samples import Samples
from sosr_timm.metrics.selective import COVERAGES, accepted, tie_groups

VALUES_AT_ONCE = 2_000_000  # weights in memory: 16 MB, and a few times that within a metric
MOST_CLASSWISE = 20_000_000  # entries of the matrix of class-wise gaps: 160 MB
BINS = 15
# (resamples, N) weights -> (resamples,) for each metric
Statistic = Callable[[np.ndarray], dict[str, np.ndarray]]


def means(values: Mapping[str, np.ndarray]) -> Statistic:
    """The means of (N,) values, by name."""
    names, columns = list(values), np.stack(list(values.values()), axis=1).astype(np.float64)

    def statistic(weights: np.ndarray) -> dict[str, np.ndarray]:
        found = weights @ columns / len(columns)
        return {name: found[:, number] for number, name in enumerate(names)}

    return statistic


def gaps(name: str, matrix: np.ndarray, share: float = 1.0) -> Statistic:
    """Calibration error from (N, bins) gaps between probability and label, each in the column of its bin.

    Args:
        name: of the metric.
        matrix: the gaps.
        share: that the sum over columns counts, as 1 / K over K classes.
    """

    def statistic(weights: np.ndarray) -> dict[str, np.ndarray]:
        return {name: np.abs(weights @ matrix).sum(axis=1) * (share / len(matrix))}

    return statistic


def calibration(name: str, confidence: np.ndarray, correct: np.ndarray) -> Statistic:
    """`calibration_error` over 15 bins of equal width."""
    member = bin_membership(torch.from_numpy(np.ascontiguousarray(confidence)), BINS).numpy()
    return gaps(name, np.where(member, (confidence - correct)[:, None], 0.0))


def adaptive_calibration(confidence: np.ndarray, correct: np.ndarray) -> Statistic:
    """`adaptive_calibration_error` over 15 bins of equal mass; the parts of a resample are its own."""
    order = np.argsort(confidence, kind="stable")
    gap, count = (confidence - correct)[order], len(order)
    sizes = [len(part) for part in np.array_split(np.arange(count), min(BINS, count))]
    starts = np.cumsum([0, *sizes[:-1]])

    def statistic(weights: np.ndarray) -> dict[str, np.ndarray]:
        times = weights[:, order].astype(np.int64).ravel()
        drawn = np.repeat(np.tile(gap, len(weights)), times).reshape(len(weights), count)
        return {"ece_adaptive": np.abs(np.add.reduceat(drawn, starts, axis=1)).sum(axis=1) / count}

    return statistic


def classwise_calibration(logits: np.ndarray, target: np.ndarray) -> Statistic:
    """`ClasswiseCalibration` over 15 bins."""
    probabilities = torch.from_numpy(logits).double().softmax(dim=1).numpy()
    count, classes = probabilities.shape
    matrix = np.zeros((count, classes, BINS))
    for number in range(classes):
        column = np.ascontiguousarray(probabilities[:, number])
        member = bin_membership(torch.from_numpy(column), BINS).numpy()
        matrix[:, number] = np.where(member, (column - (target == number))[:, None], 0.0)
    return gaps("ece_classwise", matrix.reshape(count, -1), 1 / classes)


def selective(confidence: np.ndarray, wrong: np.ndarray) -> Statistic:
    """AURC, AUGRC, AUROC and the risk at fixed coverages as in `metrics.selective`, ties included."""
    order, starts = tie_groups(confidence)
    count, tied = len(order), len(starts) < len(order)
    mistakes = wrong[order].astype(np.float64)
    numbers = np.arange(1, count + 1)

    def statistic(weights: np.ndarray) -> dict[str, np.ndarray]:
        counts, rates = weights[:, order], np.broadcast_to(mistakes, weights.shape)
        if tied:
            errors = np.add.reduceat(counts * mistakes, starts, axis=1)
            counts = np.add.reduceat(counts, starts, axis=1)
            rates = errors / np.maximum(counts, 1.0)
        # an image drawn twice follows itself; within a group of ties each counts as the group's mean
        drawn = np.repeat(rates.ravel(), counts.ravel().astype(np.int64)).reshape(weights.shape)
        errors = drawn.cumsum(axis=1)
        found = {
            "aurc": errors @ (1.0 / numbers) / count,
            "augrc": (errors.sum(axis=1) - 0.5 * errors[:, -1]) / count**2,
        }
        for percent in COVERAGES:
            number = accepted(percent / 100, count)
            found[f"risk_at_{percent}"] = errors[:, number - 1] / number
        share = errors[:, -1] / count  # wrong ones; augrc is a function of it and of auroc
        with np.errstate(invalid="ignore", divide="ignore"):
            found["auroc"] = 1.0 - (found["augrc"] - 0.5 * share**2) / (share * (1.0 - share))
        return found

    return statistic


def statistics_of(samples: Samples, confidence: str) -> list[Statistic]:
    """Every metric that the samples allow: some need scores or logits, which old files of predictions lack.

    Args:
        samples: of one model.
        confidence: of selective classification.
    """
    correct, target = samples.correct, samples.target
    hits = {"top1": 100.0 * correct, "top5": 100.0 * (samples.guesses[:, :5] == target[:, None]).any(axis=1)}
    losses = {name: samples.scores[name] for name in ("loss", "brier") if name in samples.scores}
    found = [
        means(hits | losses),
        calibration("ece", samples.confidence, correct),
        adaptive_calibration(samples.confidence, correct),
    ]
    if samples.logits is not None and samples.logits.size * BINS <= MOST_CLASSWISE:
        found.append(classwise_calibration(samples.logits, target))
    if confidence in samples.scores:
        found.append(selective(samples.scores[confidence], ~correct))
    return found


@dataclass(frozen=True)
class Difference:
    """A metric of two models, a and b.

    Attributes:
        a, b: its values.
        interval: of b - a, 95 %.
        p_value: two-sided, of no difference.
    """

    a: float
    b: float
    interval: tuple[float, float]
    p_value: float


def drawn_weights(count: int, resamples: int, seed: int) -> Iterator[np.ndarray]:
    """(chunk, count) weights of all resamples: how often each sample was drawn."""
    generator = np.random.default_rng(seed)
    size = max(1, VALUES_AT_ONCE // count)
    for start in range(0, resamples, size):
        rows = min(size, resamples - start)
        drawn = generator.integers(count, size=(rows, count)) + count * np.arange(rows)[:, None]
        yield np.bincount(drawn.ravel(), minlength=rows * count).reshape(rows, count).astype(np.float64)


def paired_bootstrap(
    a: list[Statistic], b: list[Statistic], count: int, resamples: int = 2_000, seed: int = 42
) -> dict[str, Difference]:
    """Compare two models by every metric that both have in every resample (paired percentile bootstrap, Efron 1979).

    The p-value is twice the smaller share of resamples on either side of no difference, itself counted on both sides
    and the observed sample as one more resample; so it is at least 2 / (resamples + 1).

    Args:
        a: metrics of the first model.
        b: those of the second one, on the same samples.
        count: of the samples.
        resamples: how many.
        seed: of the drawing.
    """
    values = [_all(statistics, np.ones((1, count))) for statistics in (a, b)]
    names = [name for name in values[0] if name in values[1] and np.isfinite(values[0][name] + values[1][name]).all()]
    drawn: dict[str, list[np.ndarray]] = {name: [] for name in names}
    for weights in drawn_weights(count, resamples, seed):
        first, second = (_all(statistics, weights) for statistics in (a, b))
        for name in names:
            drawn[name].append(second[name] - first[name])
    found = {}
    for name in names:
        differences = np.concatenate(drawn[name])
        if not np.isfinite(differences).all():  # a resample without errors has no auroc
            continue
        low, high = np.quantile(differences, [0.025, 0.975])
        tail = min((differences <= 0).sum(), (differences >= 0).sum())
        p_value = min(1.0, 2 * (int(tail) + 1) / (resamples + 1))
        found[name] = Difference(
            float(values[0][name][0]), float(values[1][name][0]), (float(low), float(high)), p_value
        )
    return found


def _all(statistics: list[Statistic], weights: np.ndarray) -> dict[str, np.ndarray]:
    return {name: values for statistic in statistics for name, values in statistic(weights).items()}


def holm(p_values: list[float]) -> list[float]:
    """p-values corrected for all of them being looked at (Holm 1979): the chance of any false finding stays below.

    Each is multiplied by the number of those at least as large, and is at least as large as any smaller one's.
    """
    order = np.argsort(p_values, kind="stable")
    corrected, worst = [0.0] * len(p_values), 0.0
    for rank, index in enumerate(order):
        worst = max(worst, min(1.0, (len(p_values) - rank) * p_values[index]))
        corrected[index] = worst
    return corrected
