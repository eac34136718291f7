"""Slow NumPy loops of every metric, written from the definitions; what the tests compare with."""

import math

import numpy as np


def softmax(row: np.ndarray) -> list[float]:
    top = max(row)
    powers = [math.exp(value - top) for value in row]
    return [power / math.fsum(powers) for power in powers]


def metrics(logits: np.ndarray, target: np.ndarray, bins: int = 15) -> dict[str, float]:
    """Every figure of `MetricTable.compute`, from float64 logits (M, K) without ties and labels (M,)."""
    top1 = top5 = 0
    loss, brier = [], []
    binned = [[] for _ in range(bins)]
    for row, label in zip(logits.astype(np.float64), target, strict=True):
        better = sum(value > row[label] for value in row)
        top1 += better < 1
        top5 += better < 5
        probabilities = softmax(row)
        log_sum = max(row) + math.log(math.fsum(math.exp(value - max(row)) for value in row))
        loss.append(log_sum - row[label])
        brier.append(sum((p - (k == label)) ** 2 for k, p in enumerate(probabilities)))
        confidence = max(probabilities)
        for index in range(bins):
            lo, hi = index / bins, (index + 1) / bins
            if lo < confidence <= hi:
                binned[index].append((confidence, better < 1))
    count = len(target)
    ece = 0.0
    for samples in binned:
        if samples:
            accuracy = sum(right for _, right in samples) / len(samples)
            confidence = sum(confidence for confidence, _ in samples) / len(samples)
            ece += len(samples) / count * abs(accuracy - confidence)
    return {
        "top1": 100 * top1 / count,
        "top5": 100 * top5 / count,
        "loss": math.fsum(loss) / count,
        "brier": math.fsum(brier) / count,
        "ece": ece,
        "count": count,
    }
