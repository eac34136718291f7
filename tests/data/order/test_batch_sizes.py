"""Batches of several image sizes come as timm's scheduled sampler draws them, for any number of processes."""

from functools import partial

import pytest
from timm.data.scheduled_sampler import ScheduledBatchSampler

from sosr_timm.data.order.batch_sizes import BatchSize, EqualBatches, ScheduledBatches
from sosr_timm.data.order.order import TrainingOrder, TrainingSampler

CASES = {
    "budget": {},
    "weights": {"probabilities": (0.2, 0.0, 0.8)},
    "steps": {"steps": 23},
    "progressive": {"schedule": "progressive", "epochs": 5},
    "narrow": {"schedule": "progressive", "epochs": 5, "spread": 0.0, "random_mix": 0.0, "steps": 11},
    "mixed": {"schedule": "progressive", "epochs": 3, "random_mix": 1.0},
}
NAMES = {
    "probabilities": "choice_weights",
    "schedule": "choice_schedule",
    "epochs": "schedule_epochs",
    "spread": "schedule_spread",
    "random_mix": "schedule_random_mix",
    "steps": "num_batches",
}


@pytest.mark.parametrize("case", CASES)
@pytest.mark.parametrize("seed", [0, 42])
def test_the_schedule_of_a_seed_is_timms(case, seed):
    given = CASES[case]
    ours = ScheduledBatches(500, given.get("steps"), batch_sizes=(32, 24, 16), seed=seed, **without_steps(given))
    theirs = ScheduledBatchSampler(
        range(500), (32, 24, 16), seed=seed, **{NAMES[name]: value for name, value in given.items()}
    )
    assert ours.batches_per_epoch == len(theirs)
    for epoch in range(5):
        theirs.set_epoch(epoch)
        assert ours.of(epoch) == [BatchSize(len(batch), batch[0][1]) for batch in theirs]
    assert len({tuple(ours.of(epoch)) for epoch in range(5)}) > (1 if case != "narrow" else 2)


def without_steps(given):
    return {name: value for name, value in given.items() if name != "steps"}


def test_a_progressive_schedule_goes_from_the_first_size_to_the_last():
    sizes = ScheduledBatches(
        640, None, batch_sizes=(32, 32, 32), seed=1, schedule="progressive", epochs=9, spread=0.3, random_mix=0.0
    )
    means = [sum(size.choice for size in sizes.of(epoch)) / 20 for epoch in range(9)]
    assert means[0] < 0.2 and abs(means[4] - 1) < 0.2 and means[8] > 1.8


def scheduled(processes, given):
    return partial(
        ScheduledBatches,
        batch_sizes=tuple(size * processes for size in (8 // processes, 24 // processes, 16 // processes)),
        seed=3,
        **without_steps(given),
    )


@pytest.mark.parametrize("case", CASES)
def test_a_step_has_the_same_samples_and_size_for_any_number_of_processes(case):
    given = CASES[case]
    streams = []
    for processes in (1, 2, 4):
        orders = [
            TrainingOrder(
                333, 8 // processes, processes, rank, steps=given.get("steps"), sizes=scheduled(processes, given)
            )
            for rank in range(processes)
        ]
        assert len({order.batches_per_epoch for order in orders}) == 1
        steps = zip(*(order.keys(1, 0, 3) for order in orders), strict=True)
        streams.append([(step[0].choice, {index for key in step for index in key.indices}) for step in steps])
        assert orders[0].samples_of(1, slice(2, 5)) == sum(len(part) for _, part in streams[0][2:5])
    assert streams[0] == streams[1] == streams[2]
    assert len({choice for choice, _ in streams[0]}) > 1


def test_training_can_start_anywhere():
    order = TrainingOrder(333, 4, 2, 1, sizes=scheduled(2, CASES["weights"]), seed=3)
    whole = list(TrainingSampler(order, 0, 0, 3))
    for start in (1, order.batches_per_epoch + 3):
        epoch, batch = divmod(start, order.batches_per_epoch)
        assert list(TrainingSampler(order, epoch, batch, 3)) == whole[start:]


def test_equal_batches():
    assert EqualBatches(100, 16).batches_per_epoch == 6
    assert EqualBatches(100, 16, 9).of(3) == [BatchSize(16, 0)] * 9
