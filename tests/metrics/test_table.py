"""The table agrees with slow loops, timm and torchmetrics, to the last bit for any number of processes."""

import math

import pytest
import torch
from timm.task.evaluator import ClassificationEvaluator

from sosr_timm.metrics import MetricTable
from tests.metrics.references import metrics


def batches(sizes=(64, 64, 64, 64, 64, 17), classes=10, scale=3.0, dtype=torch.float32):
    generator = torch.Generator().manual_seed(0)
    for size in sizes:
        logits = torch.randn(size, classes, generator=generator) * scale
        target = torch.randint(classes, (size,), generator=generator)
        helped = torch.rand(size, generator=generator) < 0.6
        logits[torch.arange(size), target] += torch.where(helped, 2 * scale, 0.0)
        yield logits.to(dtype), target


def filled(all_batches, **options) -> MetricTable:
    all_batches = list(all_batches)
    table = MetricTable(len(all_batches), **options)
    for index, (logits, target) in enumerate(all_batches):
        table.update(index, logits, target)
    return table


@pytest.mark.parametrize(("classes", "bins"), [(2, 15), (3, 10), (5, 1), (10, 15), (100, 15)])
def test_slow_loops(classes, bins):
    data = list(batches(classes=classes))
    logits, target = torch.cat([x for x, _ in data]), torch.cat([y for _, y in data])
    assert filled(data, bins=bins).compute() == pytest.approx(metrics(logits.numpy(), target.numpy(), bins), rel=1e-11)


def test_timm():
    evaluator = ClassificationEvaluator()
    for logits, target in batches(classes=100):
        evaluator.update(logits, target)
    found, theirs = filled(batches(classes=100)).compute(), evaluator.compute()
    assert (found["top1"], found["top5"]) == (theirs["top1"], theirs["top5"])
    assert found["loss"] == pytest.approx(theirs["loss"], rel=1e-6)  # theirs is a float32 mean per batch


def test_torchmetrics_where_no_confidence_is_1():
    """torchmetrics has an extra bin for 1.0 and sums in float32; elsewhere it means the same."""
    functional = pytest.importorskip("torchmetrics.functional.classification")
    data = list(batches())
    logits, target = torch.cat([x for x, _ in data]), torch.cat([y for _, y in data])
    theirs = functional.multiclass_calibration_error(logits.softmax(dim=1), target, num_classes=10, n_bins=15)
    assert filled(data).compute()["ece"] == pytest.approx(theirs.item(), rel=1e-5)


@pytest.mark.parametrize("processes", [2, 3, 4, 7])
def test_processes_change_no_bit(processes):
    data = list(batches(sizes=(64,) * 10 + (3,)))
    tables = [MetricTable(len(data)) for _ in range(processes)]
    for index in reversed(range(len(data))):
        tables[index % processes].update(index, *data[index])
    total = sum(table.rows for table in reversed(tables))
    for table in tables:
        table.reduce(lambda rows: total)
    alone = filled(data)
    alone.reduce()
    for table in tables:
        assert table.compute() == alone.compute()
        assert table.reliability() == alone.reliability()


def test_threads_change_no_bit():
    data = list(batches(sizes=(40_000,), classes=3))
    threads = torch.get_num_threads()
    rows = []
    try:
        for count in (1, 2, 3):
            torch.set_num_threads(count)
            rows.append(filled(data).rows)
    finally:
        torch.set_num_threads(threads)
    assert torch.equal(rows[0], rows[1])
    assert torch.equal(rows[0], rows[2])


@pytest.mark.parametrize("dtype", [torch.bfloat16, torch.float16, torch.float64])
def test_other_precisions_are_taken_as_the_numbers_they_are(dtype):
    data = list(batches(dtype=dtype, classes=100))
    wide = [(logits.double(), target) for logits, target in data]
    assert filled(data).compute() == filled(wide).compute()


def test_huge_logits_are_finite_and_sure():
    logits = 1e4 * torch.eye(4)
    found = filled([(logits, torch.tensor([0, 1, 2, 0]))]).compute()
    assert found == {"top1": 75.0, "top5": 100.0, "loss": 2500.0, "brier": 0.5, "ece": 0.25, "count": 4}


@pytest.mark.parametrize("value", [math.nan, math.inf])
def test_not_finite_logits_give_nan(value):
    data = list(batches())
    data[2][0][5, 3] = value
    found = filled(data).compute()
    assert found.pop("count") == 337
    assert all(math.isnan(metric) for metric in found.values()), found


def test_a_class_ruled_out_by_minus_infinity_is_no_accident():
    logits = torch.tensor([[0.0, -math.inf, 0.0]])
    found = filled([(logits, torch.tensor([0]))]).compute()
    assert found["loss"] == pytest.approx(math.log(2))
    assert found["brier"] == pytest.approx(0.5)


def test_reliability():
    data = list(batches(scale=2.0))
    table = filled(data, bins=4)
    found = table.reliability()
    assert found["edges"] == [0.0, 0.25, 0.5, 0.75, 1.0]
    assert sum(found["count"]) == table.compute()["count"]
    confidence, guess = torch.cat([x for x, _ in data]).double().softmax(dim=1).max(dim=1)
    right = guess == torch.cat([y for _, y in data])
    for index in range(4):
        inside = (confidence > index / 4) & (confidence <= (index + 1) / 4)
        assert found["count"][index] == inside.sum()
        if not inside.any():
            assert found["confidence"][index] is None
            assert found["accuracy"][index] is None
            continue
        assert found["confidence"][index] == pytest.approx(confidence[inside].mean().item(), rel=1e-12)
        assert found["accuracy"][index] == pytest.approx(right[inside].double().mean().item(), rel=1e-12)


def test_reliability_has_none_for_an_empty_bin():
    found = filled([(torch.tensor([[100.0, 0.0]]), torch.tensor([1]))], bins=2).reliability()
    assert found == {"edges": [0.0, 0.5, 1.0], "count": [0, 1], "confidence": [None, 1.0], "accuracy": [None, 0.0]}


def test_a_batch_is_counted_once():
    data = list(batches())
    table = filled(data)
    table.update(1, *data[1])
    assert table.compute() == filled(data).compute()
    table.reduce(lambda rows: rows + rows)
    with pytest.raises(ValueError, match=r"exactly once.* 6 did not: 0 \(2x\)"):
        table.compute()


def test_a_missing_batch_is_an_error():
    table = MetricTable(3)
    table.update(1, *next(batches()))
    with pytest.raises(ValueError, match=r"2 did not: 0 \(0x\), 2 \(0x\)"):
        table.compute()


@pytest.mark.parametrize("label", [-1, -100, 10])
def test_ignored_labels_are_an_error(label):
    data = list(batches())
    data[0][1][:2] = label
    with pytest.raises(ValueError, match="2 targets are no class"):
        filled(data).compute()


def test_wrong_calls():
    with pytest.raises(ValueError, match="num_batches=0"):
        MetricTable(0)
    with pytest.raises(ValueError, match="bins=0"):
        MetricTable(1, bins=0)
    table = MetricTable(2)
    for index in (-1, 2):
        with pytest.raises(IndexError, match="of 2"):
            table.update(index, *next(batches()))
    with pytest.raises(ValueError, match="expected logits"):
        table.update(0, torch.zeros(3, 2), torch.zeros(2, dtype=torch.long))
    with pytest.raises(ValueError, match="no samples"):
        filled([(torch.zeros(0, 3), torch.zeros(0, dtype=torch.long))]).compute()


def test_update_never_waits_for_the_device():
    """On the meta device any look at a value fails, so this holds for a GPU too."""
    table = MetricTable(1, device="meta")
    table.update(0, torch.zeros(4, 10, device="meta"), torch.zeros(4, dtype=torch.long, device="meta"))
    assert table.rows.shape == (1, 52)


def test_groups_of_classes():
    member = {"even": [True, False] * 5, "last": [False] * 9 + [True], "none": [False] * 10}
    data = list(batches())
    logits, target = torch.cat([x for x, _ in data]), torch.cat([y for _, y in data])
    right = logits.argmax(dim=1) == target
    found, without = filled(data, groups=member).compute(), filled(data).compute()
    assert found["top1_even"] == pytest.approx(100 * right[target % 2 == 0].double().mean().item())
    assert found["top1_last"] == pytest.approx(100 * right[target == 9].double().mean().item())
    assert {name: value for name, value in found.items() if name in without} == without
    assert found.keys() - without.keys() == {"top1_even", "top1_last"}
