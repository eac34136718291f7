"""Class-wise calibration error against loops over classes and bins, in any batches and over any processes."""

import numpy as np
import pytest
import torch

from sosr_timm.metrics.classwise import ClasswiseCalibration

GENERATOR = torch.Generator().manual_seed(0)
LOGITS = torch.randn(203, 6, generator=GENERATOR) * 2
TARGET = torch.randint(6, (203,), generator=GENERATOR)


def slow(logits, target, bins=15) -> float:
    probabilities, count, classes = logits.double().softmax(dim=1).numpy(), len(target), logits.shape[1]
    total = 0.0
    for k in range(classes):
        for index in range(bins):
            inside = (probabilities[:, k] > index / bins) & (probabilities[:, k] <= (index + 1) / bins)
            if inside.any():
                gap = (target.numpy()[inside] == k).mean() - probabilities[inside, k].mean()
                total += inside.sum() / count * abs(gap)
    return total / classes


def of(*parts: slice, bins: int = 15) -> ClasswiseCalibration:
    found = ClasswiseCalibration(6, bins)
    for part in parts:
        found.update(LOGITS[part], TARGET[part])
    return found


@pytest.mark.parametrize("bins", [1, 10, 15])
def test_it_is_the_loop(bins):
    assert of(slice(None), bins=bins).compute() == pytest.approx(slow(LOGITS, TARGET, bins), abs=1e-11)


def test_batches_and_processes_change_no_bit():
    alone = of(slice(None)).compute()
    assert of(slice(0, 64), slice(64, 70), slice(70, 203)).compute() == alone
    one, two = of(slice(100, 203)), of(slice(0, 100))
    sums = iter([one.gaps + two.gaps, torch.tensor([203])])
    one.reduce(lambda mine: next(sums))
    assert one.compute() == alone


def test_by_hand():
    found = ClasswiseCalibration(2, 10)
    found.update(torch.log(torch.tensor([[0.25, 0.75], [0.25, 0.75]], dtype=torch.float64)), torch.tensor([1, 0]))
    # class 0: both in (0.2, 0.3], half of them are of it; class 1: both in (0.7, 0.8], half of them are
    assert found.compute() == pytest.approx(0.25, abs=1e-12)


def test_perfect_predictions_have_no_error_and_no_samples_are_refused():
    found = ClasswiseCalibration(6)
    with pytest.raises(ValueError, match="no samples"):
        found.compute()
    found.update(1e4 * torch.nn.functional.one_hot(TARGET, 6).double(), TARGET)
    assert found.compute() == 0


def test_update_never_waits_for_the_device():
    found = ClasswiseCalibration(10, device="meta")
    found.update(torch.zeros(4, 10, device="meta"), torch.zeros(4, dtype=torch.long, device="meta"))
    assert found.gaps.shape == (150,) and found.count == 4


def test_many_samples_do_not_overflow():
    found = ClasswiseCalibration(2)
    found.update(torch.tensor([[50.0, -50.0]]).expand(1000, 2), torch.ones(1000, dtype=torch.long))
    found.gaps *= 8000
    found.count *= 8000
    assert found.compute() == pytest.approx(1.0, rel=1e-9)
    assert np.iinfo(np.int64).max * 2.0**-40 > 8e6
