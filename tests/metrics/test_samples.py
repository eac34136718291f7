"""Predictions sample by sample: those of the logits, whatever process saw them."""

import math

import numpy as np
import pytest
import torch

from sosr_timm.metrics import MetricTable, SampleTable
from sosr_timm.metrics.confidence import confidences
from sosr_timm.metrics.samples import SCORES

GENERATOR = torch.Generator().manual_seed(0)
LOGITS = torch.randn(37, 7, generator=GENERATOR) * 3
TARGET = torch.randint(7, (37,), generator=GENERATOR)


def filled(parts, **options) -> SampleTable:
    table = SampleTable(37, 7, **options)
    for part in parts:
        table.update(part.start, LOGITS[part], TARGET[part])
    return table


PARTS = [slice(0, 16), slice(16, 32), slice(32, 37)]


def test_what_is_kept_is_what_the_logits_say():
    read = filled(PARTS, keep_logits=True).read()
    order = np.argsort(-LOGITS.numpy(), axis=1)
    assert (read.guesses == order[:, :5]).all()
    assert (read.target == TARGET.numpy()).all()
    expected = np.take_along_axis(LOGITS.double().softmax(dim=1).numpy(), order[:, :5], axis=1)
    np.testing.assert_allclose(read.probabilities, expected, rtol=1e-12)
    assert (read.logits == LOGITS.numpy()).all()
    table = MetricTable(1)
    table.update(0, LOGITS, TARGET)
    assert table.compute()["top1"] == 100 * read.correct.mean()


def test_processes_change_no_bit():
    alone = filled(PARTS, keep_logits=True).read()
    one, two = filled(PARTS[::2], keep_logits=True), filled(PARTS[1:2], keep_logits=True)
    sums = {id(one.rows): one.rows + two.rows, id(one.logits): one.logits + two.logits}
    one.reduce(lambda rows: sums[id(rows)])
    both = one.read()
    for name in ("target", "guesses", "probabilities", "logits"):
        assert np.array_equal(getattr(both, name), getattr(alone, name))
    assert list(both.scores) == [*SCORES, "max_softmax"]
    assert all(np.array_equal(both.scores[name], alone.scores[name]) for name in both.scores)


def test_the_scores_are_those_of_the_logits():
    read = filled(PARTS, p_norm=3.0).read()
    wide = LOGITS.double()
    expected = confidences(wide, 3.0)
    for name, values in expected.items():
        np.testing.assert_allclose(read.scores[name], values, rtol=1e-12, atol=1e-15)
    np.testing.assert_allclose(read.scores["loss"], torch.nn.functional.cross_entropy(wide, TARGET, reduction="none"))
    wanted = torch.nn.functional.one_hot(TARGET, 7)
    np.testing.assert_allclose(read.scores["brier"], (wide.softmax(1) - wanted).square().sum(1))


def test_a_missing_or_doubled_sample_is_an_error():
    with pytest.raises(ValueError, match="exactly once, but 5 did not, the first is 32"):
        filled(PARTS[:2]).read()
    table = filled(PARTS)
    table.reduce(lambda rows: 2 * rows)
    with pytest.raises(ValueError, match="exactly once"):
        table.read()
    with pytest.raises(IndexError, match="samples 32 to 48 of 37"):
        table.update(32, LOGITS[:16], TARGET[:16])


def test_no_softmax_shows_as_no_number():
    table = SampleTable(1, 3)
    table.update(0, torch.tensor([[0.0, math.nan, 1.0]]), torch.tensor([0]))
    assert np.isnan(table.read().probabilities).any()


def test_update_never_waits_for_the_device():
    table = SampleTable(4, 10, keep_logits=True, device="meta")
    table.update(0, torch.zeros(4, 10, device="meta"), torch.zeros(4, dtype=torch.long, device="meta"))
    assert table.rows.shape == (4, 12 + len(SCORES))
