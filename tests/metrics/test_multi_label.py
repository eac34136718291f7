"""The table of many labels: scikit-learn's figures, the same for any number of processes."""

import pytest
import torch
from sklearn.metrics import average_precision_score, f1_score

from sosr_timm.metrics import MultiLabelTable


def rows(count=53, labels=4):
    generator = torch.Generator().manual_seed(1)
    logits = torch.randn(count, labels, generator=generator)
    return logits.round(decimals=1), (torch.rand(count, labels, generator=generator) > 0.6).float()


def filled(logits, target, batches, size=8, threshold=0.5):
    table = MultiLabelTable(-(-len(logits) // size), len(logits), size, logits.shape[1], threshold)
    for batch in batches:
        part = slice(batch * size, (batch + 1) * size)
        table.update(batch, logits[part], target[part])
    return table


def test_the_figures_are_scikit_learns():
    logits, target = rows()
    found = filled(logits, target, range(7), threshold=0.4).compute()
    predicted = logits.sigmoid() >= 0.4
    expected = {
        "map": average_precision_score(target, logits, average="macro"),
        "micro_f1": f1_score(target, predicted, average="micro"),
        "macro_f1": f1_score(target, predicted, average="macro"),
        "sample_f1": f1_score(target, predicted, average="samples", zero_division=0.0),
    }
    for name, value in expected.items():
        assert found[name] == pytest.approx(100 * value, rel=1e-9), name
    loss = torch.nn.functional.binary_cross_entropy_with_logits(logits, target)
    assert found["loss"] == pytest.approx(float(loss), rel=1e-6) and found["count"] == 53


def test_three_processes_give_the_figures_of_one_to_the_bit():
    logits, target = rows()
    one = filled(logits, target, range(7))
    parts = [filled(logits, target, range(rank, 7, 3)) for rank in range(3)]
    tables = {name: [getattr(part, name) for part in parts] for name in ("times", "logits", "target")}
    sums = iter([sum(tables[name]) for name in ("times", "logits", "target")])
    parts[0].reduce(lambda mine: next(sums))
    one.reduce(None)
    assert parts[0].compute() == one.compute()


def test_half_precision_logits_are_taken():
    logits, target = rows()
    found = filled(logits.bfloat16(), target, range(7)).compute()
    assert found == filled(logits.bfloat16().float(), target, range(7)).compute()


def test_what_does_not_fit_is_refused():
    logits, target = rows()
    with pytest.raises(ValueError, match="must come exactly once"):
        filled(logits, target, range(6)).compute()
    with pytest.raises(ValueError, match="must come exactly once"):
        filled(logits, target, [0, *range(7)]).compute()
    with pytest.raises(IndexError, match="batch 7 of 7"):
        filled(logits, target, [7])
    with pytest.raises(ValueError, match=r"expected logits and target \(8, 4\)"):
        filled(logits, target, []).update(0, logits[:8], target[:8, 0])
    with pytest.raises(ValueError, match="between 0 and 1"):
        MultiLabelTable(1, 1, 1, 1, threshold=1.0)
