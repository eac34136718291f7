"""Label relaxation: values, the set without a loss, mixed targets, and the authors' package."""

import math

import pytest
import torch
import torch.nn.functional as F
from numpy.testing import assert_allclose

from sosr_timm.losses import create_loss
from tests.losses import oracles
from tests.losses.cases import batch

pytestmark = pytest.mark.usefixtures("either_kernel")

ALPHAS = [0.02, 0.1, 0.4, 0.9]


def gradient_of(loss, logits, target):
    leaf = logits.clone().requires_grad_()
    value = loss(leaf, target)
    return value.item(), torch.autograd.grad(value, leaf)[0]


def test_worked_values():
    loss = create_loss("relaxation(alpha=0.25)")
    half = 0.75 * math.log(0.75 / 0.5) + 0.25 * math.log(0.25 / 0.5)
    for logits, value in (([0.0, 0.0], half), ([math.log(3.0), 0.0], 0.0), ([2.0, 0.0], 0.0), ([0.0, 1000.0], None)):
        found = loss(torch.tensor([logits], dtype=torch.float64), torch.tensor([0])).item()
        assert found == pytest.approx(
            0.75 * (math.log(0.75) + 1000) + 0.25 * math.log(0.25) if value is None else value
        )


@pytest.mark.parametrize("alpha", ALPHAS)
def test_against_loops(alpha):
    loss = create_loss(f"relaxation(alpha={alpha})")
    for scale in (1.0, 4.0):
        logits, index, dense = batch(rows=12, classes=6, scale=scale)
        for target in (index, dense):
            value, gradient = oracles.label_relaxation(logits.numpy(), target.numpy(), alpha)
            found, slope = gradient_of(loss, logits, target)
            assert_allclose(found, value, rtol=1e-10, atol=1e-15)
            assert_allclose(slope, gradient, atol=1e-13)


@pytest.mark.parametrize("alpha", ALPHAS)
def test_against_the_package_of_the_authors(alpha):
    package = pytest.importorskip("label_relaxation")
    loss = create_loss(f"relaxation(alpha={alpha})")
    for seed in range(5):
        logits, index, _ = batch(rows=40, classes=7, scale=3.0, seed=seed)
        other, weight = index.flip(0), torch.rand(40, generator=torch.Generator().manual_seed(seed)).double()
        weight[::10], weight[1::10] = 1.0, 0.0
        dense = weight.unsqueeze(1) * F.one_hot(index, 7) + (1 - weight).unsqueeze(1) * F.one_hot(other, 7)
        for target, theirs in (
            (index, lambda z, index=index: package.label_relaxation_loss(z, index, alpha)),
            (dense, lambda z, index=index, other=other, weight=weight: package.mixup_label_relaxation_loss(
                z, index, other, weight, alpha)),
        ):  # fmt: skip
            value, slope = gradient_of(loss, logits, target)
            expected, expected_slope = gradient_of(lambda z, _, theirs=theirs: theirs(z), logits, target)
            assert value == pytest.approx(expected, rel=1e-10)
            torch.testing.assert_close(slope, expected_slope)


def test_no_loss_and_no_gradient_inside_the_set():
    loss = create_loss("relaxation")
    logits = torch.tensor([[9.0, 0.0, 1.0], [9.0, 8.9, -4.0]], dtype=torch.float64)
    for target in (torch.tensor([0, 0]), torch.tensor([[1.0, 0, 0], [0.5, 0.5, 0]])):
        value, slope = gradient_of(loss, logits[-1:] if target.ndim == 2 else logits[:1], target[-1:])
        assert value == 0.0 and not slope.any()


def test_a_dense_row_of_one_label_is_that_label():
    loss, (logits, index, _) = create_loss("relaxation"), batch(rows=20)
    torch.testing.assert_close(loss(logits, F.one_hot(index, 5).double()), loss(logits, index))


def test_three_labels():
    """A label that is satisfied at first falls short once another one is raised."""
    loss = create_loss("relaxation(alpha=0.1)")
    target = torch.tensor([[0.5, 0.3, 0.2, 0.0]], dtype=torch.float64)
    for logits in ([-3.0, 1.0, 0.1, 2.0], [5.0, 0.0, 0.0, 0.0], [0.0, 4.0, 3.2, 0.0], [-9.0, -9.0, -9.0, 9.0]):
        array = torch.tensor([logits], dtype=torch.float64)
        value, gradient = oracles.label_relaxation(array.numpy(), target.numpy(), 0.1)
        found, slope = gradient_of(loss, array, target)
        assert found == pytest.approx(value, rel=1e-12)
        assert_allclose(slope, gradient, atol=1e-14)


def test_small_alpha_is_nearly_cross_entropy():
    logits, index, _ = batch()
    torch.testing.assert_close(
        create_loss("relaxation(alpha=1e-12)")(logits, index), create_loss("ce")(logits, index), rtol=0, atol=1e-9
    )
