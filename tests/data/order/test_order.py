"""The order of samples is a function of seed and epoch, the same for any number of processes and any start."""

import hashlib
from itertools import islice

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from sosr_timm.data.order.order import BatchKey, EvaluationOrder, TrainingOrder, TrainingSampler

# sha256 of the little-endian int64 permutation. A NumPy that breaks one of these breaks every stored run's resumption.
GOLDEN = {
    (10, 42, 0): "ca79e9dfb49ce82e911fa1c9038e433ee58fc48262e3a090ce3b9319954ba756",
    (60_000, 42, 7): "fde2ddc4559178bfa119f48e227d052cb784ebe1f6698b1d078558eae8345f45",
    (1_281_167, 0, 299): "bdfe565bac5332d3515ebec587b80d7289d872e73476e1917f10548c3e364f14",
}


def keys_of_step(step, num_samples, batch_size, world_size, **start):
    """What every rank gets at a step of an epoch."""
    orders = [TrainingOrder(num_samples, batch_size, world_size, rank) for rank in range(world_size)]
    return [next(islice(order.keys(start.get("epoch", 0), 0, 9), step, None)) for order in orders]


@pytest.mark.parametrize(("case", "digest"), GOLDEN.items())
def test_the_permutation_of_a_seed_never_changes(case, digest):
    num_samples, seed, epoch = case
    permutation = TrainingOrder(num_samples, 1, seed=seed).permutation(epoch).astype("<i8")
    assert hashlib.sha256(permutation.tobytes()).hexdigest() == digest


def test_a_permutation_holds_every_sample_once():
    assert np.array_equal(np.sort(TrainingOrder(1000, 8).permutation(3)), np.arange(1000))


def test_seed_and_epoch_change_the_permutation():
    seen = {
        tuple(TrainingOrder(200, 8, seed=seed).permutation(epoch).tolist()) for seed in (0, 1, 42) for epoch in range(4)
    }
    assert len(seen) == 12
    # A seed's next epoch is not the next seed's epoch: runs over seeds are independent.
    assert not np.array_equal(
        TrainingOrder(200, 8, seed=0).permutation(1), TrainingOrder(200, 8, seed=1).permutation(0)
    )


@pytest.mark.parametrize("step", [0, 1, 11])
@pytest.mark.parametrize("epoch", [0, 2])
def test_a_step_has_the_same_samples_for_any_number_of_processes(step, epoch):
    alone = keys_of_step(step, 401, 32, 1, epoch=epoch)[0].indices
    for world_size in (2, 4, 8, 32):
        parts = keys_of_step(step, 401, 32 // world_size, world_size, epoch=epoch)
        assert len({(part.epoch, part.batch) for part in parts}) == 1
        interleaved = [index for group in zip(*(part.indices for part in parts), strict=True) for index in group]
        assert tuple(interleaved) == alone


def test_accumulated_batches_are_the_slices_of_a_larger_one():
    large = keys_of_step(3, 401, 32, 1)[0].indices
    small = [keys_of_step(step, 401, 8, 1)[0].indices for step in range(12, 16)]
    assert sum(small, ()) == large


def test_an_epoch_repeats_nothing_and_drops_the_short_last_batch():
    order = TrainingOrder(103, 10)
    keys = list(order.keys(0, 0, 1))
    assert [key.batch for key in keys] == list(range(10))
    samples = [index for key in keys for index in key.indices]
    assert len(samples) == len(set(samples)) == 100
    assert samples == order.permutation(0)[:100].tolist()


@settings(max_examples=60, deadline=None)
@given(st.data())
def test_any_start_gives_the_tail_of_the_whole_stream(data):
    num_samples = data.draw(st.integers(1, 200))
    world_size = data.draw(st.integers(1, 4))
    batch_size = data.draw(st.integers(1, max(1, num_samples // world_size)))
    if num_samples < batch_size * world_size:
        return
    rank = data.draw(st.integers(0, world_size - 1))
    order = TrainingOrder(num_samples, batch_size, world_size, rank, seed=data.draw(st.integers(0, 2**40)))
    epochs = data.draw(st.integers(0, 4))
    epoch = data.draw(st.integers(0, 4))
    batch = data.draw(st.integers(0, order.batches_per_epoch))
    whole = list(TrainingSampler(order, 0, 0, epochs))
    tail = list(TrainingSampler(order, epoch, batch, epochs))
    start = epoch * order.batches_per_epoch + batch
    assert tail == whole[start:]
    assert all(isinstance(key, BatchKey) and len(key.indices) == batch_size for key in tail)
    assert len(TrainingSampler(order, 0, 0, epochs)) == len(whole)
    assert len(TrainingSampler(order, epoch, batch, epochs)) == len(tail)


def test_too_few_samples_for_one_batch_is_an_error():
    TrainingOrder(8, 4, 2)
    with pytest.raises(ValueError, match=r"7 samples, fewer than one batch of 8 \(4 x 2 processes\)"):
        TrainingOrder(7, 4, 2)


@settings(max_examples=60, deadline=None)
@given(st.integers(0, 300), st.integers(1, 40), st.integers(1, 9))
def test_evaluation_sees_every_sample_once(num_samples, batch_size, world_size):
    orders = [EvaluationOrder(num_samples, batch_size, world_size, rank) for rank in range(world_size)]
    batches = [(batch, list(order.indices(batch))) for order in orders for batch in order]
    assert [len(list(order)) for order in orders] == [len(order) for order in orders]
    assert sorted(batch for batch, _ in batches) == list(range(orders[0].num_batches))
    assert [index for _, indices in sorted(batches) for index in indices] == list(range(num_samples))
    assert all(indices for _, indices in batches)
    # A batch is the same one whoever evaluates it.
    alone = EvaluationOrder(num_samples, batch_size)
    assert all(indices == list(alone.indices(batch)) for batch, indices in batches)
