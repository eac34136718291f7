"""Orders of data sets: permutations as they always were, bijections beyond, and windows of shards."""

import pickle
from itertools import islice

import numpy as np
import pytest
from scipy import stats

from sosr_timm.data.order import shuffle as shuffles
from sosr_timm.data.order.order import TrainingOrder, TrainingSampler
from sosr_timm.data.order.passes import Passes
from sosr_timm.data.order.resumable_sampler import ResumableSampler
from sosr_timm.data.order.seeding import ORDER, seed_words
from sosr_timm.data.order.shuffle import (
    KINDS,
    LARGEST_PERMUTATION,
    BijectiveShuffle,
    Permutation,
    ShardWindows,
    make_shuffle,
)
from sosr_timm.options.train_data import ORDERS

ENDS = np.cumsum([7, 30, 1, 12, 25, 25, 3, 18])


def shuffled(kind):
    return make_shuffle(int(ENDS[-1]), 5, kind, ENDS, window=3)


def test_the_kinds_are_those_of_the_option():
    assert KINDS == ORDERS


@pytest.mark.parametrize(("epoch", "number"), [(0, 0), (3, 0), (3, 1)])
def test_small_sets_keep_their_permutation(epoch, number):
    words = (epoch, number) if number else (epoch,)
    before = np.random.default_rng(seed_words(42, ORDER, *words, count=4)).permutation(1000)
    assert np.array_equal(make_shuffle(1000, 42).samples(epoch, number, 0, 1000), before)
    assert np.array_equal(Passes(1000, 42).permutation(epoch, number), before)


def test_the_permutation_of_a_seed_is_fixed():
    # Written down once: a change would break every stored run.
    assert make_shuffle(10, 42).samples(0, 0, 0, 10).tolist() == [5, 3, 4, 2, 0, 1, 8, 7, 9, 6]


def test_large_sets_have_a_bijection():
    assert isinstance(make_shuffle(LARGEST_PERMUTATION, 0), Permutation)
    assert isinstance(make_shuffle(LARGEST_PERMUTATION + 1, 0), BijectiveShuffle)
    assert isinstance(make_shuffle(LARGEST_PERMUTATION + 1, 0, "permutation"), Permutation)
    order = TrainingOrder(10**9, 256)
    (key,) = islice(order.keys(3, 3_000_000, 4), 1)
    assert key.batch == 3_000_000 and len(set(key.indices)) == 256
    assert order.samples_of(0, slice(10, 20)) == 2560


@pytest.mark.parametrize("kind", ["permutation", "bijection", "shards"])
def test_a_pass_has_each_sample_once_and_differs_by_epoch_pass_and_seed(kind):
    count = int(ENDS[-1])
    orders = [
        make_shuffle(count, seed, kind, ENDS, 3).samples(epoch, number, 0, count).tolist()
        for seed, epoch, number in ((5, 0, 0), (5, 1, 0), (5, 0, 1), (6, 0, 0))
    ]
    assert all(sorted(order) == list(range(count)) for order in orders)
    assert len(set(map(tuple, orders))) == 4


@pytest.mark.parametrize("kind", ["permutation", "bijection", "shards"])
def test_any_stretch_is_that_of_the_whole(kind):
    whole = shuffled(kind).samples(2, 0, 0, int(ENDS[-1]))
    shuffle = shuffled(kind)
    for start, stop in ((0, 1), (50, 121), (10, 10), (3, 97), (0, 121), (120, 121)):
        assert np.array_equal(shuffle.samples(2, 0, start, stop), whole[start:stop])
    assert np.array_equal(pickle.loads(pickle.dumps(shuffle)).samples(2, 0, 5, 9), whole[5:9])


@pytest.mark.parametrize("kind", ["permutation", "bijection", "shards"])
@pytest.mark.parametrize("case", [{}, {"repeats": 2.5}, {"epoch_repeats": 1.7}, {"steps": 40}], ids=str)
def test_a_step_has_the_same_samples_for_any_number_of_processes_and_start(kind, case):
    def order(batch, world, rank):
        return TrainingOrder(121, batch, world, rank, 5, shuffle=shuffled(kind), **case)

    alone = list(order(8, 1, 0).keys(0, 0, 3))
    for world in (2, 4):
        parts = [list(order(8 // world, world, rank).keys(0, 0, 3)) for rank in range(world)]
        for key, *others in zip(alone, *parts, strict=True):
            assert key.indices == tuple(np.stack([other.indices for other in others], 1).ravel().tolist())
    per_epoch = order(8, 1, 0).batches_per_epoch
    for start in (1, per_epoch - 1, per_epoch, 2 * per_epoch + 3):
        resumed = TrainingSampler(order(8, 1, 0), *divmod(start, per_epoch), 3)
        assert list(resumed) == alone[start:] and len(resumed) == len(alone) - start


@pytest.mark.parametrize("repeats", [1.0, 2.0, 2.5, 1.25, 1.1, 3.7, 7.3])
def test_stretches_of_repeated_images_are_those_of_the_whole(repeats):
    passes = Passes(2000, 3, repeats, 2.3)
    whole = passes.take(1, passes.samples_per_epoch)
    place = (np.arange(passes.per_pass) // repeats).astype(np.int64)
    assert np.array_equal(whole[1][: len(place)], np.arange(len(place)) - np.searchsorted(place, place))
    for start, stop in ((0, 5), (7, 1999), (1700, 2300), (1999, 4100)):
        part = passes.take(1, stop, start)
        assert np.array_equal(part[0], whole[0][start:stop]) and np.array_equal(part[1], whole[1][start:stop])


def test_a_window_holds_the_samples_of_its_shards_alone():
    shuffle = shuffled("shards")
    shards = np.searchsorted(ENDS, shuffle.samples(0, 0, 0, 121), side="right")
    first_seen = list(dict.fromkeys(shards.tolist()))
    assert sorted(first_seen) == list(range(8))
    windows = [first_seen[start : start + 3] for start in range(0, 8, 3)]
    position = 0
    for window in windows:
        size = sum(int(shuffle.sizes[shard]) for shard in window)
        assert set(shards[position : position + size]) == set(window)
        position += size


def test_samples_are_mixed_over_a_window_and_windows_over_the_set():
    ends = np.arange(1, 101) * 100
    first = np.zeros(100)
    for epoch in range(40):
        order = make_shuffle(10_000, 1, "shards", ends, 10).samples(epoch, 0, 0, 10_000)
        shards, counts = np.unique(order[:1000] // 100, return_counts=True)
        assert len(shards) == 10 and (counts == 100).all()
        assert len(np.unique(order[:100] // 100)) == 10, "the first tenth of a window meets each of its shards"
        first[shards] += 1
    assert stats.chisquare(first).pvalue > 1e-3


def test_large_windows_need_no_memory(monkeypatch):
    monkeypatch.setattr(shuffles, "LARGEST_PERMUTATION", 40)
    shuffle = shuffled("shards")
    whole = shuffle.samples(0, 0, 0, 121)
    assert sorted(whole.tolist()) == list(range(121))
    assert shuffle._window is None or len(shuffle._window[1]) <= 40
    assert np.array_equal(shuffled("shards").samples(0, 0, 30, 90), whole[30:90])


def test_impossible_orders_are_refused():
    with pytest.raises(ValueError, match="order 'random': one of auto, permutation, bijection, shards"):
        make_shuffle(10, 0, "random")
    with pytest.raises(ValueError, match="not stored in shards"):
        make_shuffle(10, 0, "shards")
    with pytest.raises(ValueError, match="window of 0 shards"):
        ShardWindows(ENDS, 0, 0)


def test_a_state_of_the_sampler_says_when_it_is_no_permutation():
    small, large = ResumableSampler(100, num_replicas=1), ResumableSampler(LARGEST_PERMUTATION + 1, num_replicas=1)
    assert "order" not in small.state_dict() and large.state_dict()["order"] == "bijection"
    state = large.state_dict()
    large.load_state_dict(state)
    del state["order"]  # as an earlier version saved it
    with pytest.raises(ValueError, match="order of the kind permutation, this sampler has a bijection"):
        large.load_state_dict(state)
