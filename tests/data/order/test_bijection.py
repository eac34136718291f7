"""The order that needs no memory: each sample once, and as random as a permutation."""

import random
import time
import tracemalloc

import numpy as np
import pytest
from scipy import stats

from sosr_timm.data.order.bijection import Bijection
from sosr_timm.data.order.seeding import ORDER, seed_words

SAMPLES = 1 << 17
SIZES = [(1 << 24) + 1, 100_000_000, (1 << 30) - 1]


def of(size, seed=0, epoch=0):
    return Bijection(size, seed_words(seed, ORDER, epoch, count=4))


@pytest.mark.parametrize("size", [1, 2, 3, 4, 5, 7, 8, 9, 15, 16, 17, 100, 255, 257, 1000, 4097, 65_537, 300_001])
def test_each_sample_comes_once(size):
    for epoch in range(2):
        found = of(size, 7, epoch)(np.arange(size))
        assert found.dtype == np.int64 and np.array_equal(np.sort(found), np.arange(size))


def test_every_order_of_three_samples_comes_as_often():
    orders = [tuple(of(3, 1, epoch)(np.arange(3)).tolist()) for epoch in range(3000)]
    counts = np.unique(orders, axis=0, return_counts=True)[1]
    assert len(counts) == 6 and stats.chisquare(counts).pvalue > 1e-3


def test_a_position_has_its_sample_whatever_is_asked_with_it():
    order = of(12_345_678, 5)
    positions = np.random.default_rng(0).integers(0, 12_345_678, 50_000)
    together = order(positions)
    assert [int(order(positions[i : i + 1])[0]) for i in range(0, 50_000, 5000)] == together[::5000].tolist()
    assert np.array_equal(of(12_345_678, 5)(np.sort(positions)), together[np.argsort(positions, kind="stable")])
    assert len(order(np.empty(0, np.int64))) == 0


@pytest.mark.parametrize("size", SIZES)
@pytest.mark.parametrize("start", [0, None], ids=["first", "middle"])
def test_samples_of_neighbours_are_uniform_and_independent(size, start):
    start = size // 3 if start is None else start
    found = of(size, 3)(np.arange(start, start + SAMPLES)) / size
    assert stats.kstest(found, "uniform").pvalue > 1e-3
    for lag in (1, 2, 16, 256):
        assert abs(np.corrcoef(found[:-lag], found[lag:])[0, 1]) < 4 / np.sqrt(SAMPLES)
    pairs = np.histogram2d(found[:-1:2], found[1::2], bins=16, range=((0, 1), (0, 1)))[0]
    assert stats.chisquare(pairs.ravel()).pvalue > 1e-3
    low = np.bincount((found * size).round().astype(np.int64) % 64, minlength=64)
    assert stats.chisquare(low).pvalue > 1e-3
    drawn = np.array(random.Random(1).sample(range(size), SAMPLES)) / size
    assert stats.ks_2samp(np.diff(np.sort(found)), np.diff(np.sort(drawn))).pvalue > 1e-3


@pytest.mark.parametrize("size", SIZES)
def test_orders_of_epochs_and_seeds_are_independent(size):
    positions = np.arange(SAMPLES)
    orders = [of(size, seed, epoch)(positions) / size for seed, epoch in ((0, 0), (0, 1), (1, 0), (0, 2))]
    for number, first in enumerate(orders):
        for second in orders[number + 1 :]:
            assert abs(np.corrcoef(first, second)[0, 1]) < 4 / np.sqrt(SAMPLES)
            pairs = np.histogram2d(first, second, bins=16, range=((0, 1), (0, 1)))[0]
            assert stats.chisquare(pairs.ravel()).pvalue > 1e-3
            difference = (first - second) % 1.0
            assert stats.kstest(difference, "uniform").pvalue > 1e-3


def test_samples_that_keep_their_place_are_as_rare_as_in_permutations():
    # Their number is nearly Poisson with mean 1.
    positions = np.arange(1000)
    kept = [int((of(1000, 2, epoch)(positions) == positions).sum()) for epoch in range(1000)]
    expected = 1000 * stats.poisson.pmf(np.arange(4), 1)
    counts = np.bincount(np.minimum(kept, 4), minlength=5)
    assert stats.chisquare(counts, [*expected, 1000 - expected.sum()]).pvalue > 1e-3


def test_a_start_costs_nothing_however_long_the_order_is():
    tracemalloc.start()
    started = time.perf_counter()
    found = of(10**12)(np.array([0, 10**12 - 1]))
    seconds, peak = time.perf_counter() - started, tracemalloc.get_traced_memory()[1]
    tracemalloc.stop()
    assert (found >= 0).all() and (found < 10**12).all() and peak < 1_000_000 and seconds < 0.5


@pytest.mark.parametrize("size", [0, -1, (1 << 62) + 1])
def test_impossible_sizes_are_refused(size):
    with pytest.raises(ValueError, match="an order of"):
        of(size)
