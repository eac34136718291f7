"""The statistics of a comparison: means, paired differences to the baseline, Holm's correction, what could be shown."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np

LEVEL, POWER = 0.05, 0.8


def holm(p_values: Mapping[str, float]) -> dict[str, float]:
    """P-values corrected for several comparisons (Holm 1979): the k-th smallest of m times m - k + 1, never falling."""
    corrected, largest = {}, 0.0
    for position, (name, p) in enumerate(sorted(p_values.items(), key=lambda item: item[1])):
        largest = max(largest, min(1.0, p * (len(p_values) - position)))
        corrected[name] = largest
    return {name: corrected[name] for name in p_values}


def detectable_in_deviations(seeds: int, comparisons: int) -> float:
    """The least true difference that a paired t-test finds with a probability of 80 %.

    (t(1 - 0.05 / 2m, n - 1) + t(0.8, n - 1)) / sqrt(n): the first of Holm's m tests, which is the strictest.

    Args:
        seeds: n, at least 2.
        comparisons: m.

    Returns:
        in standard deviations of the differences between two losses with the same seed.
    """
    from scipy.stats import t

    quantiles = t.ppf(1 - LEVEL / (2 * max(1, comparisons)), seeds - 1) + t.ppf(POWER, seeds - 1)
    return float(quantiles / math.sqrt(seeds))


@dataclass(frozen=True)
class Spread:
    """How much the differences to the baseline vary from seed to seed.

    Attributes:
        deviation: median of the losses' standard deviations.
        seeds: of a loss, the fewest.
        comparisons: how many losses are compared with the baseline.
    """

    deviation: float
    seeds: int
    comparisons: int

    @property
    def detectable(self) -> float:
        """The least true difference that would be found with a probability of 80 %."""
        return detectable_in_deviations(self.seeds, self.comparisons) * self.deviation


def spread_of(differences: Sequence[Sequence[float]]) -> Spread | None:
    """The spread of the differences of several losses; None where no loss has two."""
    enough = [values for values in differences if len(values) > 1]
    if not enough:
        return None
    deviation = float(np.median([np.std(values, ddof=1) for values in enough]))
    return Spread(deviation, min(map(len, enough)), len(enough))
