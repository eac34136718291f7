"""An epoch of repeated images or of several passes: timm's order of repeats, the same for any number of processes."""

from itertools import islice

import numpy as np
import pytest
import torch
from timm.data.distributed_sampler import RepeatAugSampler

from sosr_timm.data.order.order import TrainingOrder, TrainingSampler
from sosr_timm.data.order.passes import Passes


@pytest.mark.parametrize("repeats", [1.0, 2.0, 3.0, 2.5, 1.25])
@pytest.mark.parametrize(("num_samples", "world_size"), [(700, 1), (700, 2), (256, 4), (100, 2), (1023, 3)])
def test_the_repeats_stand_where_timms_sampler_puts_them(repeats, num_samples, world_size, monkeypatch):
    passes = Passes(num_samples, 7, repeats)
    permutation = torch.from_numpy(passes.permutation(2))
    monkeypatch.setattr(torch, "randperm", lambda count, generator: permutation)
    theirs = [
        list(RepeatAugSampler(range(num_samples), world_size, rank, num_repeats=repeats)) for rank in range(world_size)
    ]
    taken = passes.per_pass // world_size * world_size
    ours = passes.take(2, passes.per_pass)[0][:taken]
    # timm rounds up where the set is smaller than its groups of 256.
    assert [ours[rank::world_size].tolist() for rank in range(world_size)] == [
        indices[: taken // world_size] for indices in theirs
    ]
    assert all(0 <= len(indices) - taken // world_size <= 1 for indices in theirs)


@pytest.mark.parametrize("repeats", [1.0, 3.0, 2.5])
def test_a_pass_is_no_longer_than_the_set_and_sees_a_part_of_it(repeats):
    indices, copies = Passes(2560, 0, repeats).take(4, 2560)
    seen, counts = np.unique(indices, return_counts=True)
    assert len(seen) == int(np.ceil(2560 / repeats)) and counts.max() == int(np.ceil(repeats))
    assert len(set(zip(indices.tolist(), copies.tolist(), strict=True))) == 2560, "each copy is another one"
    assert copies.max() == counts.max() - 1


def test_passes_of_an_epoch_follow_each_other_in_orders_of_their_own():
    passes = Passes(50, 3, epoch_repeats=2.5)
    assert passes.samples_per_epoch == 125
    indices, copies = passes.take(1, 125)
    assert indices[:50].tolist() == Passes(50, 3).take(1, 50)[0].tolist() == passes.permutation(1).tolist()
    assert sorted(indices[50:100]) == list(range(50)) and indices[50:100].tolist() != indices[:50].tolist()
    assert copies.tolist() == [0] * 50 + [1] * 50 + [2] * 25
    assert indices[100:].tolist() == passes.permutation(1, 2)[:25].tolist()
    both = Passes(50, 3, 2, 2).take(0, 100)
    assert len(set(zip(*(part.tolist() for part in both), strict=True))) == 100


@pytest.mark.parametrize("epoch_repeats", [0.0, 0.3, 1.0])
def test_less_than_one_pass_is_one_as_in_timms_readers(epoch_repeats):
    assert Passes(50, 3, epoch_repeats=epoch_repeats).samples_per_epoch == 50


@pytest.mark.parametrize(
    ("arguments", "said"), [({"repeats": 0.5}, "0.5 repeats"), ({"epoch_repeats": -1.0}, "-1 pas")]
)
def test_impossible_numbers_are_refused(arguments, said):
    with pytest.raises(ValueError, match=said):
        Passes(10, 0, **arguments)


CASES = [{"repeats": 3.0}, {"repeats": 2.5, "epoch_repeats": 2.0}, {"epoch_repeats": 1.7}, {"steps": 40}, {"steps": 3}]


@pytest.mark.parametrize("case", CASES, ids=str)
def test_a_step_has_the_same_samples_for_any_number_of_processes(case):
    alone = list(TrainingOrder(401, 32, **case).keys(1, 0, 2))
    for world_size in (2, 4):
        ranks = [
            list(TrainingOrder(401, 32 // world_size, world_size, rank, **case).keys(1, 0, 2))
            for rank in range(world_size)
        ]
        assert len(ranks[0]) == len(alone)
        for key, *parts in zip(alone, *ranks, strict=True):
            for name in ("indices", "copies"):
                shares = [getattr(part, name) or (0,) * (32 // world_size) for part in parts]
                together = [item for group in zip(*shares, strict=True) for item in group]
                assert tuple(together) == (getattr(key, name) or (0,) * 32)
    assert len(alone) == case.get("steps", len(alone))


@pytest.mark.parametrize("case", CASES, ids=str)
def test_any_start_gives_the_tail_of_the_whole_stream(case):
    order = TrainingOrder(401, 16, 2, 1, **case)
    whole = list(TrainingSampler(order, 0, 0, 3))
    for start in (0, 1, order.batches_per_epoch, order.batches_per_epoch + 2, 3 * order.batches_per_epoch - 1):
        epoch, batch = divmod(start, order.batches_per_epoch)
        assert list(TrainingSampler(order, epoch, batch, 3)) == whole[start:]
    assert len(TrainingSampler(order, 0, 0, 3)) == len(whole)


def test_steps_beyond_the_set_go_on_with_another_pass():
    key = next(islice(TrainingOrder(40, 16, steps=9).keys(0, 0, 1), 3, None))
    assert key.copies == (1,) * 16, "two batches and a half were the first pass"
    keys = list(TrainingOrder(40, 16, steps=9).keys(0, 0, 1))
    assert keys[0].copies == () and keys[2].copies == (0,) * 8 + (1,) * 8
    assert [index for key in keys for index in key.indices][:40] == TrainingOrder(40, 8).permutation(0).tolist()
    with pytest.raises(ValueError, match="0 batches an epoch"):
        TrainingOrder(40, 16, steps=0)
