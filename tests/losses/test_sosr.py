"""SOSR: who is selected, what is levelled, and by how much."""

import numpy as np
import pytest
import torch
from numpy.testing import assert_allclose

from sosr_timm.losses import create_loss, read_target
from sosr_timm.losses.sosr import selected_spread
from tests.losses import oracles

BEYOND = 4.595119850134590  # log(0.99 / 0.01): this margin of the label over the rest is exactly p = 0.99


def penalty(logits, target, threshold=0.99, smoothing=0.0):
    spread, selected = selected_spread(logits, read_target(logits, target, smoothing), threshold)
    return spread.mean().item(), selected.tolist()


def test_worked_example():
    logits = torch.tensor([[8.0, 1, -1, 0]], requires_grad=True)
    loss = create_loss("sosr(beta=1.0)")
    loss(logits, torch.tensor([0]))
    assert loss.parts["sosr"].item() == pytest.approx(0.5) and loss.parts["selected"].item() == 1.0
    spread, _ = selected_spread(logits, read_target(logits, torch.tensor([0])))
    (gradient,) = torch.autograd.grad(spread.mean(), logits)
    assert_allclose(gradient, [[0, 0.5, -0.5, 0]], atol=1e-7)


def test_divided_by_all_samples_of_the_batch():
    logits = torch.tensor([[8.0, 1, -1, 0], [0.0, 1, -1, 0]])
    value, selected = penalty(logits, torch.tensor([0, 0]))
    assert value == pytest.approx(0.25) and selected == [True, False]


def test_two_labels():
    logits = torch.tensor([[6, 5.5, -1, 1]])
    value, selected = penalty(logits, torch.tensor([[0.6, 0.4, 0, 0]]))
    assert value == pytest.approx(0.5) and selected == [True]


def test_three_labels_keep_three_logits():
    logits = torch.tensor([[6, 5.5, 5.0, 1.0, -1.0]])
    value, selected = penalty(logits, torch.tensor([[0.5, 0.3, 0.2, 0, 0]]))
    assert value == pytest.approx(2 / 5) and selected == [True]


def test_threshold_is_strict():
    logits = torch.tensor([[0.0, 0.0]], dtype=torch.float64)
    logits = torch.cat([logits, torch.full((1, 1), -1e4, dtype=torch.float64)], dim=1)
    assert penalty(logits, torch.tensor([0]), threshold=0.5)[1] == [False]
    assert penalty(logits, torch.tensor([0]), threshold=0.5 - 1e-12)[1] == [True]


@pytest.mark.parametrize("margin, chosen", [(BEYOND - 1e-5, False), (BEYOND + 1e-5, True)])
def test_margin_of_the_paper_threshold(margin, chosen):
    wrong = torch.tensor([0.3, -0.2, 0.1], dtype=torch.float64)
    logits = torch.cat([wrong.logsumexp(0, keepdim=True) + margin, wrong]).unsqueeze(0)
    assert penalty(logits, torch.tensor([0]))[1] == [chosen]


def test_threshold_of_one_selects_nothing():
    """Not even where rounding makes probabilities sum to more than 1."""
    logits = torch.randn(1000, 7, generator=torch.Generator().manual_seed(0)) * 30
    target = torch.full((1000, 7), 1 / 6)
    target[:, 6] = 0
    assert not any(penalty(logits, target, threshold=1.0)[1])
    assert not any(penalty(logits, logits.argmax(dim=1), threshold=1.0)[1])


def test_single_label_must_be_the_top_one():
    logits = torch.tensor([[2.0, 1.9, 0, -1], [1.9, 2.0, 0, -1]])
    assert penalty(logits, torch.tensor([0, 0]), threshold=0.2)[1] == [True, False]


def test_mixed_labels_need_not_hold_the_top_one():
    logits = torch.tensor([[0.325, 0.325, 0.35]], dtype=torch.float64).log()
    assert penalty(logits, torch.tensor([[0.5, 0.5, 0.0]]), threshold=0.6) == (0.0, [True])  # one wrong logit is level
    logits = torch.tensor([[0.3, 0.3, 0.35, 0.05]], dtype=torch.float64).log()
    assert penalty(logits, torch.tensor([[0.5, 0.5, 0.0, 0.0]]), threshold=0.59)[1] == [True]


@pytest.mark.parametrize("classes, label_count", [(1, 1), (2, 1), (2, 2), (3, 2), (3, 3)])
def test_nothing_left_to_average(classes, label_count):
    target = torch.zeros(1, classes)
    target[0, :label_count] = 1 / label_count
    logits = torch.zeros(1, classes)
    logits[0, :label_count] = 20.0
    logits.requires_grad_()
    spread, selected = selected_spread(logits, read_target(logits, target), 0.9)
    spread.sum().backward()
    assert spread.item() == 0 and not logits.grad.any()
    assert selected.item() == (classes > label_count)


def test_gradient_leaves_label_and_mean_alone():
    rng = np.random.default_rng(0)
    logits = torch.tensor(rng.normal(size=(5, 6)) * 3, requires_grad=True)
    index = logits.argmax(dim=1)
    spread, selected = selected_spread(logits, read_target(logits, index), 0.3)
    spread.sum().backward()
    assert selected.any()
    assert_allclose(logits.grad.sum(dim=1), 0, atol=1e-12)
    assert not logits.grad.gather(1, index.unsqueeze(1)).any()


def test_random_batches_against_loops():
    for seed in range(20):
        rng = np.random.default_rng(seed)
        classes = int(rng.integers(2, 9))
        logits = rng.normal(size=(7, classes)) * 5
        target = np.where(rng.uniform(size=7) < 0.6, logits.argmax(axis=1), rng.integers(classes, size=7))
        for threshold in (0.1, 0.5, 0.99):
            value, gradient, selected = oracles.sosr(logits, target, threshold)
            tensor = torch.tensor(logits, requires_grad=True)
            spread, chosen = selected_spread(tensor, read_target(tensor, torch.tensor(target)), threshold)
            spread.mean().backward()
            assert_allclose(spread.mean().item(), value, atol=1e-12)
            assert_allclose(tensor.grad, gradient, atol=1e-12)
            assert chosen.tolist() == selected.tolist()


def test_bfloat16_is_judged_in_float32():
    """bfloat16 has nothing between 0.988 and 0.992, so a probability of 0.9903 must not be rounded before the test."""
    logits = torch.tensor([[4.625, 0.0]], dtype=torch.bfloat16)  # p = 0.99028
    logits = torch.cat([logits, torch.tensor([[-60.0]], dtype=torch.bfloat16)], dim=1)
    loss = create_loss("sosr")
    loss(logits, torch.tensor([0]))
    assert loss.parts["selected"].item() == 1.0
    loss(logits - torch.tensor([[0.0625, 0, 0]], dtype=torch.bfloat16), torch.tensor([0]))  # p = 0.98965
    assert loss.parts["selected"].item() == 0.0
