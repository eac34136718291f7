"""Means, intervals and paired tests against values computed by hand and by SciPy."""

import math

import numpy as np
import pytest
from scipy import stats

from sosr_timm.runner.statistics import mean_of, paired


def test_the_interval_of_three_values_by_hand():
    mean = mean_of([1.0, 2.0, 3.0])
    # s = 1, t(0.975, 2) = 4.302653
    assert (mean.value, mean.n) == (2.0, 3)
    assert mean.half_width == pytest.approx(4.302653 / math.sqrt(3), abs=1e-6)
    assert str(mean) == "2.00 ± 2.48"


def test_the_interval_is_scipys():
    values = np.random.default_rng(0).normal(70, 0.3, 7)
    low, high = stats.t.interval(0.95, 6, values.mean(), stats.sem(values))
    mean = mean_of(values.tolist())
    assert (mean.value - mean.half_width, mean.value + mean.half_width) == pytest.approx((low, high))


def test_one_value_has_no_interval():
    assert str(mean_of([74.7])) == "74.70"


def test_no_values_have_no_mean():
    with pytest.raises(ValueError, match="at least one value"):
        mean_of([])


def test_the_paired_test_takes_the_seeds_that_both_have():
    ours, theirs = {0: 71.0, 1: 72.5, 2: 73.0, 5: 99.0}, {2: 72.0, 1: 71.0, 0: 70.5, 7: 1.0}
    found = paired(ours, theirs)
    assert found.difference.n == 3
    assert found.difference.value == pytest.approx(1.0)
    # t = mean / (s / sqrt(n)) of 0.5, 1.5, 1.0
    t = 1.0 / (0.5 / math.sqrt(3))
    assert found.p == pytest.approx(2 * stats.t.sf(t, 2))
    assert str(found) == "+1.00 ± 1.24 (p = 0.074)"


def test_a_single_pair_is_too_few():
    assert str(paired({0: 71.0, 1: 5.0}, {0: 70.5})) == "+0.50 (n too small: 1)"


def test_differences_without_spread_have_no_p():
    found = paired({0: 71.5, 1: 72.5}, {0: 71.0, 1: 72.0})
    assert found.p is None
    assert str(found) == "+0.50 ± 0.00 (p undefined)"


def test_rows_that_share_no_seed_are_not_compared():
    assert paired({0: 1.0}, {1: 1.0}) is None
