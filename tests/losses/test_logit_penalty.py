"""Logit penalty: values, and the half."""

import pytest
import torch
from numpy.testing import assert_allclose

from sosr_timm.losses import create_loss
from sosr_timm.losses.logit_penalty import half_squared_norm
from tests.losses import oracles
from tests.losses.cases import batch


def test_worked_value():
    loss = create_loss("logit_penalty(weight=0.1)")
    loss(torch.tensor([[3.0, 4.0], [0.0, 1.0]]), torch.tensor([0, 1]))
    assert loss.parts["logit_penalty"].item() == pytest.approx(0.1 / 2 * (25 + 1) / 2)


def test_default_weight_is_that_of_the_maxsup_code():
    assert create_loss("logit_penalty").penalties["logit_penalty"].weight == 2e-3


def test_against_loops():
    logits, _, _ = batch()
    value, gradient = oracles.logit_penalty(logits.numpy())
    result = half_squared_norm(logits.requires_grad_()).mean()
    result.backward()
    assert_allclose(result.item(), value, rtol=1e-12)
    assert_allclose(logits.grad, gradient, atol=1e-12)
