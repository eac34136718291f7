"""LogitNorm: values, the scale of the logits without effect, logits that are all 0."""

import math

import pytest
import torch
import torch.nn.functional as F
from numpy.testing import assert_allclose

from sosr_timm.losses import create_loss
from sosr_timm.losses.logit_normalization import normalized
from tests.losses import oracles
from tests.losses.cases import batch


def test_worked_value():
    loss = create_loss("logitnorm(temperature=0.5)")
    logits = torch.tensor([[3.0, 4.0]], dtype=torch.float64)  # of norm 5: 1.2 and 1.6
    assert loss(logits, torch.tensor([0])).item() == pytest.approx(math.log(1 + math.exp(0.4)), rel=1e-6)


@pytest.mark.parametrize("temperature, smoothing", [(0.04, 0.0), (0.04, 0.1), (1.0, 0.3)])
def test_against_loops_and_torch(temperature, smoothing):
    loss = create_loss(f"logitnorm(temperature={temperature}, smoothing={smoothing})")
    logits, index, dense = batch(rows=12)
    for target in (index, dense):
        value, gradient = oracles.logit_normalization(
            logits.numpy(), target.numpy(), temperature, smoothing if target is index else 0.0
        )
        leaf = logits.clone().requires_grad_()
        result = loss(leaf, target)
        assert_allclose(result.item(), value, rtol=1e-12)
        assert_allclose(torch.autograd.grad(result, leaf)[0], gradient, atol=1e-12)
    theirs = logits / (logits.norm(dim=1, keepdim=True) + 1e-7) / temperature
    torch.testing.assert_close(loss(logits, index), F.cross_entropy(theirs, index, label_smoothing=smoothing))


def test_the_norm_is_one_over_the_temperature():
    logits, _, _ = batch()
    norms = normalized(logits, 0.25).norm(dim=1)
    torch.testing.assert_close(norms, torch.full_like(norms, 4.0), rtol=1e-6, atol=0)


def test_scaled_logits_have_the_same_loss():
    loss, (logits, index, dense) = create_loss("logitnorm"), batch()
    for target in (index, dense):
        torch.testing.assert_close(loss(3 * logits, target), loss(logits, target), rtol=1e-5, atol=0)


def test_logits_that_are_all_zero():
    logits = torch.zeros(2, 3, requires_grad=True)
    value = create_loss("logitnorm")(logits, torch.tensor([0, 1]))
    value.backward()
    assert value.item() == pytest.approx(math.log(3)) and logits.grad.isfinite().all()
