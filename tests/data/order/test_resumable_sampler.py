"""The public sampler gives the trainer's own order, to any number of processes, from any batch on."""

import sys
from itertools import chain

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch.utils.data import DataLoader

from sosr_timm import ResumableSampler
from sosr_timm.data.order.order import TrainingOrder


def batches(sampler: ResumableSampler, batch_size: int, **options) -> list[list[int]]:
    data = torch.arange(sampler.num_samples)
    return [batch.tolist() for batch in DataLoader(data, batch_size, sampler=sampler, drop_last=True, **options)]


@pytest.mark.parametrize("epoch", [0, 3])
def test_batches_are_those_of_the_trainer(epoch):
    sampler = ResumableSampler(103, seed=5)
    sampler.set_epoch(epoch)
    order = TrainingOrder(103, 10, seed=5)
    assert batches(sampler, 10) == [list(key.indices) for key in order.keys(epoch, 0, epoch + 1)]


def test_loader_processes_change_nothing():
    sampler = ResumableSampler(range(40), seed=5)
    assert batches(sampler, 8) == batches(sampler, 8, num_workers=1)


@pytest.mark.parametrize("processes", [2, 3, 6])
def test_a_global_batch_has_the_same_samples_for_any_number_of_processes(processes):
    alone = batches(ResumableSampler(103), 12)
    parts = [
        batches(ResumableSampler(103, num_replicas=processes, rank=rank), 12 // processes) for rank in range(processes)
    ]
    together = [list(chain(*group)) for group in zip(*parts, strict=True)]
    assert [sorted(batch) for batch in together] == [sorted(batch) for batch in alone]


@settings(max_examples=60, deadline=None)
@given(st.data())
def test_any_batch_is_a_start_for_any_number_of_processes(data):
    samples, seed = data.draw(st.integers(12, 200)), data.draw(st.integers(0, 2**40))
    epoch, done = data.draw(st.integers(0, 5)), data.draw(st.integers(0, samples // 12))
    straight = ResumableSampler(samples, seed=seed)
    straight.set_epoch(epoch)
    saved = data.draw(st.sampled_from([1, 2, 3, 4]))
    first = ResumableSampler(samples, seed=seed, num_replicas=saved, rank=data.draw(st.integers(0, saved - 1)))
    first.set_epoch(epoch)
    for _ in range(done):
        first.advance(12 // saved)
    resumed = data.draw(st.sampled_from([1, 2, 3, 4]))
    rest = []
    for rank in range(resumed):
        sampler = ResumableSampler(samples, seed=seed, num_replicas=resumed, rank=rank)
        sampler.load_state_dict(first.state_dict())
        sampler.set_epoch(epoch)  # as every training loop does
        rest.append(batches(sampler, 12 // resumed))
    together = [sorted(chain(*group)) for group in zip(*rest, strict=True)]
    assert together == [sorted(batch) for batch in batches(straight, 12)[done:]]


@pytest.mark.parametrize(("drop_last", "each"), [(True, 25), (False, 26)])
def test_samples_that_cannot_be_shared_are_left_out_or_repeated(drop_last, each):
    parts = [ResumableSampler(103, num_replicas=4, rank=rank, drop_last=drop_last) for rank in range(4)]
    assert {len(part) for part in parts} == {each}
    seen = [index for part in parts for index in part]
    order = TrainingOrder(103, 1).permutation(0).tolist()
    assert sorted(seen) == sorted(order[:100] if drop_last else order + order[:1])


def test_fewer_samples_than_processes_are_repeated_or_refused():
    assert [len(list(ResumableSampler(3, num_replicas=8, rank=rank, drop_last=False))) for rank in range(8)] == [1] * 8
    with pytest.raises(ValueError, match="3 samples cannot be shared by 8 processes"):
        ResumableSampler(3, num_replicas=8, rank=0)


def test_a_new_epoch_starts_at_its_first_sample():
    sampler = ResumableSampler(20)
    sampler.advance(8)
    assert sampler.state_dict() == {"num_samples": 20, "seed": 42, "epoch": 0, "position": 8}
    sampler.set_epoch(1)
    assert len(list(sampler)) == len(sampler) == 20
    assert sampler.state_dict()["position"] == 0


def test_an_epoch_without_set_epoch_is_refused_instead_of_being_empty():
    sampler = ResumableSampler(20)
    list(sampler)
    sampler.advance(20)
    with pytest.raises(RuntimeError, match="call set_epoch"):
        iter(sampler)
    sampler.set_epoch(0)
    assert list(sampler) == []  # the epoch that is over


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ({"data_source": 0}, "0 samples"),
        ({"seed": -1}, "seed must be at least 0"),
        ({"num_replicas": 2}, "belong together, got 2 and None"),
        ({"rank": 0}, "belong together, got None and 0"),
        ({"num_replicas": 2, "rank": 2}, r"rank must be in \[0, 2\)"),
    ],
)
def test_what_makes_no_order_is_refused(arguments, message):
    with pytest.raises(ValueError, match=message):
        ResumableSampler(**{"data_source": 10, **arguments})


def test_the_state_of_other_data_is_refused():
    state = ResumableSampler(20, seed=1).state_dict()
    with pytest.raises(ValueError, match="num_samples=20, this sampler has 21"):
        ResumableSampler(21, seed=1).load_state_dict(state)
    with pytest.raises(ValueError, match="seed=1, this sampler has 2"):
        ResumableSampler(20, seed=2).load_state_dict(state)
    with pytest.raises(ValueError, match="position 10, which 4 processes"):
        ResumableSampler(20, seed=1, num_replicas=4, rank=0).load_state_dict({**state, "position": 10})


@pytest.mark.parametrize("workers", [0, 2])
def test_a_stateful_loader_continues_by_itself(workers):
    if workers and sys.platform != "linux":
        pytest.skip("starts processes")
    stateful = pytest.importorskip("torchdata.stateful_dataloader").StatefulDataLoader

    def make():
        sampler = ResumableSampler(50)
        return sampler, stateful(torch.arange(50), 4, sampler=sampler, num_workers=workers, drop_last=True)

    sampler, loader = make()
    sampler.set_epoch(1)
    stream = iter(loader)
    first = [next(stream).tolist() for _ in range(5)]
    state = loader.state_dict()
    _, loader = make()
    loader.load_state_dict(state)
    straight = ResumableSampler(50)
    straight.set_epoch(1)
    assert first + [batch.tolist() for batch in loader] == batches(straight, 4)
