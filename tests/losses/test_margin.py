"""Margin-based label smoothing: values, the margin itself, and what it has to do with MaxSup."""

import pytest
import torch
from numpy.testing import assert_allclose

from sosr_timm.losses import create_loss
from sosr_timm.losses.margin import distance_beyond
from tests.losses import oracles
from tests.losses.cases import batch


def test_worked_value():
    loss = create_loss("margin(margin=2, weight=0.5)")
    loss(torch.tensor([[5.0, 3.5, 1.0, 0.0], [1.0, 0.5, 0.0, 0.0]]), torch.tensor([0, 1]))
    assert loss.parts["margin"].item() == pytest.approx(0.5 * (2 + 3) / 8)


@pytest.mark.parametrize("margin", [0.0, 2.0, 10.0])
def test_against_loops(margin):
    logits, _, _ = batch(scale=8.0)
    value, gradient = oracles.margin(logits.numpy(), margin)
    result = distance_beyond(logits.requires_grad_(), margin).mean()
    result.backward()
    assert value > 0
    assert_allclose(result.item(), value, rtol=1e-12)
    assert_allclose(logits.grad, gradient, atol=1e-12)


def test_without_a_margin_it_is_maxsup():
    logits, index, _ = batch()
    torch.testing.assert_close(
        create_loss("margin(margin=0, weight=0.3)")(logits, index),
        create_loss("maxsup(start=0.3, end=0.3)")(logits, index),
    )


def test_a_distance_of_the_margin_is_free():
    logits = torch.tensor([[4.0, 1.0, 0.0]], requires_grad=True)
    distance_beyond(logits, 3.0).sum().backward()
    assert_allclose(logits.grad, [[1 / 3, 0.0, -1 / 3]])


def test_of_tied_logits_one_is_pushed():
    logits = torch.tensor([[4.0, 4.0, 0.0]], requires_grad=True)
    distance_beyond(logits, 1.0).sum().backward()
    assert sorted(logits.grad[0].tolist()) == pytest.approx([-1 / 3, 0.0, 1 / 3])
