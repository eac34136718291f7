"""Means with confidence intervals, and paired comparisons, of a few runs."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np


@dataclass(frozen=True)
class Mean:
    """A mean over runs.

    Attributes:
        value: the mean.
        half_width: of its two-sided 95 % interval by Student's t; None for a single run, which has none.
        n: number of runs.
    """

    value: float
    half_width: float | None
    n: int

    def __str__(self) -> str:
        return f"{self.value:.2f}" if self.half_width is None else f"{self.value:.2f} ± {self.half_width:.2f}"


@dataclass(frozen=True)
class Paired:
    """A paired comparison over the common seeds of two rows.

    Attributes:
        difference: mean of the differences.
        p: of the two-sided paired t-test; None where it is not defined: for a single pair, and for differences that
            are all the same.
    """

    difference: Mean
    p: float | None

    def __str__(self) -> str:
        if self.difference.n < 2:
            return f"{self.difference.value:+.2f} (n too small: {self.difference.n})"
        interval = f"{self.difference.value:+.2f} ± {self.difference.half_width:.2f}"
        return f"{interval} (p undefined)" if self.p is None else f"{interval} (p = {self.p:.2g})"


def mean_of(values: Sequence[float], level: float = 0.95) -> Mean:
    """The mean and the half width of its Student t interval, t(n - 1) s / sqrt(n).

    Raises:
        ValueError: no values.
    """
    if not len(values):
        raise ValueError("mean_of needs at least one value")
    from scipy.stats import t

    n = len(values)
    if n == 1:
        return Mean(float(values[0]), None, 1)
    half_width = t.ppf((1 + level) / 2, n - 1) * np.std(values, ddof=1) / math.sqrt(n)
    return Mean(float(np.mean(values)), float(half_width), n)


def paired(ours: Mapping[int, float], theirs: Mapping[int, float]) -> Paired | None:
    """Ours minus theirs over their common seeds; None if they have none.

    Args:
        ours: value by seed.
        theirs: value by seed.
    """
    shared = sorted(ours.keys() & theirs.keys())
    if not shared:
        return None
    from scipy.stats import ttest_rel

    first, second = [ours[seed] for seed in shared], [theirs[seed] for seed in shared]
    differences = np.subtract(first, second)
    defined = len(shared) > 1 and np.ptp(differences) > 1e-12 * max(1.0, np.abs(first).max())
    return Paired(mean_of(differences), float(ttest_rel(first, second).pvalue) if defined else None)
