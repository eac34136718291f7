"""MaxSup: values, ties, the schedule, and what it has to do with label smoothing."""

import pytest
import torch
from numpy.testing import assert_allclose

from sosr_timm.losses import create_loss
from sosr_timm.losses.maxsup import top_logit_excess
from tests.losses import oracles
from tests.losses.cases import batch


@pytest.mark.parametrize("label, value", [(0, 0.590190), (1, 1.590190)])
def test_worked_values(label, value):
    loss = create_loss("maxsup(start=0.1, end=0.1)")
    assert loss(torch.tensor([[2.0, 1, 0, -1]]), torch.tensor([label])).item() == pytest.approx(value, abs=1e-6)


def test_is_label_smoothing_where_the_prediction_is_right():
    logits, _, _ = batch()
    right = logits.argmax(dim=1)
    torch.testing.assert_close(create_loss("maxsup")(logits, right), create_loss("ce", smoothing=0.1)(logits, right))


def test_against_loops():
    logits, _, _ = batch()
    value, gradient = oracles.maxsup(logits.numpy())
    logits.requires_grad_()
    result = top_logit_excess(logits).mean()
    result.backward()
    assert_allclose(result.item(), value, rtol=1e-12)
    assert_allclose(logits.grad, gradient, atol=1e-12)


def test_of_tied_logits_one_is_pushed():
    logits = torch.ones(1, 4, requires_grad=True)
    top_logit_excess(logits).sum().backward()
    assert sorted(logits.grad[0].tolist()) == [-0.25, -0.25, -0.25, 0.75]


@pytest.mark.parametrize("progress, weight", [(0.0, 0.1), (0.25, 0.125), (1.0, 0.2)])
def test_schedule(progress, weight):
    loss = create_loss("maxsup(start=0.1, end=0.2)")
    loss.set_progress(progress)
    assert loss.penalties["maxsup"].weight.item() == pytest.approx(weight, rel=1e-15)
    logits, index, dense = batch()
    for target in (index, dense):
        loss(logits, target)
        assert loss.parts["maxsup"].item() == pytest.approx(weight * oracles.maxsup(logits.numpy())[0])


def test_schedule_may_go_down():
    loss = create_loss("maxsup(start=0.2, end=0)")
    loss.set_progress(0.75)
    assert loss.penalties["maxsup"].weight.item() == pytest.approx(0.05)
