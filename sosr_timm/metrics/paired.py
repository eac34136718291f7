"""Two classifiers on the same samples: is one better, and by how much?"""

from __future__ import annotations

from typing import Any

import numpy as np


def mcnemar_exact(only_a: int, only_b: int) -> float:
    """Two-sided p-value of McNemar's test in its exact form (McNemar 1947; Edwards 1948 for what it replaces).

    Where both classifiers are equally good, each sample that only one of them gets right is as likely to be one's as
    the other's: the counts are binomial with probability 1/2.

    Args:
        only_a: samples that only the first one got right.
        only_b: samples that only the second one got right.
    """
    from scipy.stats import binomtest

    return float(binomtest(only_a, only_a + only_b).pvalue) if only_a + only_b else 1.0


def bootstrap_interval(
    only_a: int, only_b: int, count: int, level: float = 0.95, resamples: int = 10_000, seed: int = 42
) -> tuple[float, float]:
    """Percentile interval of the paired bootstrap for the difference in accuracy, b minus a (Efron 1979).

    A resample draws `count` samples with replacement, each with both its predictions. The difference only needs how
    many of each kind were drawn, and these are multinomial; drawing the numbers is drawing the samples.

    Args:
        only_a: samples that only the first one got right.
        only_b: samples that only the second one got right.
        count: of all samples.
        level: of the interval.
        resamples: how many.
        seed: of the drawing.

    Returns:
        lower and upper end, as fractions in [-1, 1].
    """
    shares = np.array([only_a, only_b, count - only_a - only_b]) / count
    drawn = np.random.default_rng(seed).multinomial(count, shares, size=resamples)
    differences = (drawn[:, 1] - drawn[:, 0]) / count
    low, high = np.quantile(differences, [(1 - level) / 2, (1 + level) / 2])
    return float(low), float(high)


def compare_correct(a: np.ndarray, b: np.ndarray, resamples: int = 10_000, seed: int = 42) -> dict[str, Any]:
    """Compare two classifiers by the samples they get right.

    Args:
        a: (N,) bool, of the first one.
        b: (N,) bool, of the second one, for the same samples.
        resamples: of the bootstrap.
        seed: of the bootstrap.

    Returns:
        `count`, `both_right`, `only_a`, `only_b`, `both_wrong`; `top1_a`, `top1_b`, `difference` (b minus a) and
        `interval` (its 95 %) in percent points; `p_value`; `resamples` and `seed`.
    """
    only_a, only_b, count = int((a & ~b).sum()), int((b & ~a).sum()), len(a)
    low, high = bootstrap_interval(only_a, only_b, count, resamples=resamples, seed=seed)
    return {
        "count": count,
        "both_right": int((a & b).sum()),
        "only_a": only_a,
        "only_b": only_b,
        "both_wrong": int((~a & ~b).sum()),
        "top1_a": 100 * int(a.sum()) / count,
        "top1_b": 100 * int(b.sum()) / count,
        "difference": 100 * (only_b - only_a) / count,
        "interval": [100 * low, 100 * high],
        "p_value": mcnemar_exact(only_a, only_b),
        "resamples": resamples,
        "seed": seed,
    }
