"""Focal loss: values, the schedule by probability, mixed and smoothed targets, digits near certainty."""

import math

import pytest
import torch
import torch.nn.functional as F
from numpy.testing import assert_allclose

from sosr_timm.kernels import use_kernel
from sosr_timm.losses import create_loss
from tests.losses import oracles
from tests.losses.cases import batch


@pytest.mark.parametrize("gamma", [0, 0.5, 1, 2, 3])
def test_worked_value(gamma):
    loss = create_loss(f"focal(gamma={gamma})")
    logits = torch.tensor([[math.log(3.0), 0.0]], dtype=torch.float64)  # p = 3/4
    assert loss(logits, torch.tensor([0])).item() == pytest.approx(0.25**gamma * math.log(4 / 3), rel=1e-14)


@pytest.mark.parametrize("spec", ["focal", "focal(gamma=0.7)", "focal(gamma=2, smoothing=0.2)", "focal(schedule=53)"])
def test_against_loops(spec):
    loss = create_loss(spec)
    keywords = {key: value for key, value in loss.spec.base.keywords.items() if key in loss.spec.base.given}
    logits, index, dense = batch(rows=12)
    for target in (index, dense):
        value, gradient = oracles.focal(logits.numpy(), target.numpy(), **keywords)
        logits.grad = None
        result = loss(logits.requires_grad_(), target)
        result.backward()
        assert_allclose(result.item(), value, rtol=1e-12)
        assert_allclose(logits.grad, gradient, atol=1e-13)
        logits = logits.detach()


def test_gamma_0_is_cross_entropy():
    logits, index, dense = batch()
    for target in (index, dense):
        torch.testing.assert_close(
            create_loss("focal(gamma=0, smoothing=0.1)")(logits, target),
            create_loss("ce", smoothing=0.1)(logits, target),
        )


def test_schedule_switches_at_a_fifth():
    """As in the authors' code: gamma 5 strictly below 0.2, 3 above, whatever the other classes."""
    loss = create_loss("focal(schedule=53)")
    for p, gamma in ((0.19, 5), (0.21, 3), (0.49, 3), (0.51, 3), (0.99, 3)):
        logits = torch.tensor([[p, (1 - p) / 2, (1 - p) / 2]], dtype=torch.float64).log()
        assert loss(logits, torch.tensor([0])).item() == pytest.approx(-((1 - p) ** gamma) * math.log(p), rel=1e-12)


def test_a_mixed_target_is_the_mean_of_its_labels_by_weight():
    """What mixup does with any criterion: lam * loss(a) + (1 - lam) * loss(b)."""
    loss, (logits, index, _) = create_loss("focal"), batch()
    other = index.flip(0)
    dense = 0.3 * F.one_hot(index, 5) + 0.7 * F.one_hot(other, 5)
    torch.testing.assert_close(loss(logits, dense.double()), 0.3 * loss(logits, index) + 0.7 * loss(logits, other))


@pytest.mark.parametrize("gamma", [0.5, 1.0, 3.0])
@pytest.mark.parametrize("margin", [1.0, 8.0, 15.0, 40.0])
@pytest.mark.parametrize("label", [0, 1])
@pytest.mark.parametrize("kernel", ["plain", "cpu"])
def test_float32_keeps_its_digits(kernel, margin, gamma, label):
    loss, index = create_loss(f"focal(gamma={gamma})"), torch.tensor([label])
    exact = torch.tensor([[margin, 0.0, -1.0]], dtype=torch.float64, requires_grad=True)
    single = exact.detach().float().requires_grad_()
    with use_kernel(kernel):
        for logits in (exact, single):
            loss(logits, index).backward()
        assert loss(single, index).item() == pytest.approx(loss(exact, index).item(), rel=3e-5)
    assert_allclose(single.grad, exact.grad, rtol=3e-5, atol=1e-44)  # the smallest float32


@pytest.mark.parametrize("gamma", [0.3, 1.0, 2.5])
def test_second_derivative_is_finite_for_a_certain_prediction(gamma):
    logits = torch.tensor([[500.0, 0.0, -1.0]], requires_grad=True)
    (slope,) = torch.autograd.grad(
        create_loss(f"focal(gamma={gamma})")(logits, torch.tensor([0])), logits, create_graph=True
    )
    slope.square().sum().backward()
    assert logits.grad.isfinite().all()
