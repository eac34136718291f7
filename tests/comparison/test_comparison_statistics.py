"""Holm's correction and what seeds can show, against values by hand and simulation."""

import math

import numpy as np
import pytest
from scipy import stats

from sosr_timm.comparison.statistics import detectable_in_deviations, holm, spread_of


def test_holm_by_hand():
    # 3 x 0.01, 2 x 0.02, max(0.04, 1 x 0.03)
    assert holm({"a": 0.03, "b": 0.01, "c": 0.02}) == pytest.approx({"a": 0.04, "b": 0.03, "c": 0.04})


def test_holm_is_at_most_one_and_leaves_a_single_test_alone():
    assert holm({"a": 0.7, "b": 0.6}) == {"a": 1.0, "b": 1.0}
    assert holm({"a": 0.04}) == {"a": 0.04}
    assert holm({}) == {}


def test_the_detectable_difference_is_found_with_the_stated_probability():
    seeds, comparisons = 10, 3
    effect = detectable_in_deviations(seeds, comparisons)
    drawn = np.random.default_rng(0).normal(effect, 1.0, (4000, seeds))
    found = stats.ttest_1samp(drawn, 0.0, axis=1).pvalue < 0.05 / comparisons
    assert found.mean() == pytest.approx(0.8, abs=0.03)


def test_the_spread_is_the_median_deviation_of_the_losses():
    spread = spread_of([[0.0, 2.0, 4.0], [1.0, 1.0, 1.0], [0.0, 1.0, 2.0], [5.0]])
    assert (spread.deviation, spread.seeds, spread.comparisons) == (1.0, 3, 3)
    assert spread.detectable == pytest.approx(detectable_in_deviations(3, 3))
    assert spread_of([[1.0]]) is None
    assert math.isfinite(spread.detectable)
