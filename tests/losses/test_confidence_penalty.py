"""Confidence penalty: values, bounds, and digits kept near certainty."""

import math

import pytest
import torch
from numpy.testing import assert_allclose

from sosr_timm.losses import create_loss
from sosr_timm.losses.confidence_penalty import negative_entropy
from tests.losses import oracles
from tests.losses.cases import batch


@pytest.mark.parametrize("label, value", [(0, 0.345436), (1, 1.345436)])
def test_worked_values(label, value):
    loss = create_loss("cp")
    assert loss(torch.tensor([[2.0, 1, 0, -1]]), torch.tensor([label])).item() == pytest.approx(value, abs=1e-6)


def test_against_loops():
    logits, _, _ = batch()
    value, gradient = oracles.confidence_penalty(logits.numpy())
    logits.requires_grad_()
    result = negative_entropy(logits).mean()
    result.backward()
    assert_allclose(result.item(), value, rtol=1e-12)
    assert_allclose(logits.grad, gradient, atol=1e-12)


def test_bounds():
    assert negative_entropy(torch.zeros(1, 8)).item() == pytest.approx(-math.log(8))
    assert negative_entropy(torch.tensor([[1e4, 0.0, -1e4]])).item() == 0.0


def test_second_derivative():
    logits, _, _ = batch(rows=2, classes=3)
    assert torch.autograd.gradgradcheck(negative_entropy, logits.requires_grad_())


@pytest.mark.parametrize("margin", [1.0, 8.0, 15.0, 40.0])
def test_float32_keeps_its_digits(margin):
    """From log-probabilities in float32, an entropy of 1e-6 and its gradient would have one right digit or none."""
    exact = torch.tensor([[margin, 0.0, -1.0]], dtype=torch.float64, requires_grad=True)
    single = exact.detach().float().requires_grad_()
    for logits in (exact, single):
        negative_entropy(logits).sum().backward()
    assert negative_entropy(single).item() == pytest.approx(negative_entropy(exact).item(), rel=1e-5)
    assert_allclose(single.grad, exact.grad, rtol=1e-5)
