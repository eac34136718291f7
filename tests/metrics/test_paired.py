"""The comparison of two classifiers: textbook values and SciPy's bootstrap of the samples themselves."""

import math

import numpy as np
import pytest
from scipy import stats

from sosr_timm.metrics.paired import bootstrap_interval, compare_correct, mcnemar_exact


@pytest.mark.parametrize(("only_a", "only_b"), [(0, 1), (3, 9), (9, 3), (10, 10), (0, 12)])
def test_mcnemar_is_the_tail_of_a_fair_coin(only_a, only_b):
    tosses, fewer = only_a + only_b, min(only_a, only_b)
    tail = sum(math.comb(tosses, heads) for heads in range(fewer + 1)) / 2**tosses
    assert mcnemar_exact(only_a, only_b) == pytest.approx(min(1.0, 2 * tail), rel=1e-12)


def test_no_difference_is_no_evidence():
    assert mcnemar_exact(0, 0) == 1.0
    assert bootstrap_interval(0, 0, 50) == (0.0, 0.0)


def test_the_interval_is_that_of_resampled_pairs():
    random = np.random.default_rng(0)
    a = random.random(400) < 0.8
    b = np.where(random.random(400) < 0.2, random.random(400) < 0.9, a)
    found = compare_correct(a, b, resamples=20_000)
    theirs = stats.bootstrap(
        (a.astype(float), b.astype(float)),
        lambda x, y: y.mean() - x.mean(),
        paired=True,
        vectorized=False,
        n_resamples=4000,
        method="percentile",
        rng=np.random.default_rng(1),
    ).confidence_interval
    assert found["interval"] == pytest.approx([100 * theirs.low, 100 * theirs.high], abs=0.3)
    assert found["difference"] == pytest.approx(100 * (b.mean() - a.mean()))
    assert found["both_right"] + found["only_a"] + found["only_b"] + found["both_wrong"] == 400


def test_the_seed_decides():
    assert bootstrap_interval(20, 30, 100, seed=1) == bootstrap_interval(20, 30, 100, seed=1)
    assert bootstrap_interval(20, 30, 1000, seed=1) != bootstrap_interval(20, 30, 1000, seed=2)
