"""Teacher-free distillation: both forms against torch's divergence, and the made-up teacher."""

import math

import pytest
import torch
import torch.nn.functional as F
from numpy.testing import assert_allclose

from sosr_timm.losses import create_loss
from sosr_timm.losses.teacher_free import made_up_teacher
from tests.losses import oracles
from tests.losses.cases import batch

pytestmark = pytest.mark.usefixtures("either_kernel")

SETTINGS = [
    {},
    {"temperature": 6.0},
    {"alpha": 0.1, "temperature": 20.0, "multiplier": 100.0},
    {"form": "paper", "temperature": 20.0},
    {"form": "paper", "correct": 0.9, "temperature": 2.0},
]


def written(keywords):
    return f"tfkd({', '.join(f'{key}={value!r}' for key, value in keywords.items())})"


@pytest.mark.parametrize("keywords", SETTINGS, ids=written)
def test_against_loops(keywords):
    loss = create_loss(written(keywords))
    logits, index, dense = batch(rows=12)
    for target in (index, dense):
        value, gradient = oracles.teacher_free(logits.numpy(), target.numpy(), **keywords)
        leaf = logits.clone().requires_grad_()
        result = loss(leaf, target)
        assert_allclose(result.item(), value, rtol=1e-11)
        assert_allclose(torch.autograd.grad(result, leaf)[0], gradient, atol=1e-13)


@pytest.mark.parametrize("temperature", [6.0, 40.0])
def test_the_code_takes_the_mean_over_all_entries_and_the_probabilities_for_logits(temperature):
    logits, index, _ = batch(rows=7, classes=9)
    soft = torch.full((7, 9), 0.01 / 8, dtype=torch.float64).scatter(1, index.unsqueeze(1), 0.99)
    with pytest.warns(UserWarning, match="reduction"):
        divergence = F.kl_div(logits.log_softmax(dim=1), (soft / temperature).softmax(dim=1))
    expected = 0.05 * F.cross_entropy(logits, index) + 0.95 * divergence
    torch.testing.assert_close(create_loss(f"tfkd(temperature={temperature})")(logits, index), expected)


def test_the_paper_sums_over_the_classes_and_softens_both():
    logits, index, _ = batch(rows=7, classes=9)
    soft = torch.full((7, 9), 0.01 / 8, dtype=torch.float64).scatter(1, index.unsqueeze(1), 0.99)
    soft = (soft.log() / 20).softmax(dim=1)
    divergence = F.kl_div((logits / 20).log_softmax(dim=1), soft, reduction="batchmean")
    expected = 0.05 * F.cross_entropy(logits, index) + 0.95 * divergence
    torch.testing.assert_close(create_loss("tfkd(temperature=20, form='paper')")(logits, index), expected)


@pytest.mark.parametrize("form", ["code", "paper"])
@pytest.mark.parametrize("correct, temperature", [(0.99, 40.0), (0.99, 1e-6), (0.01, 1e-6), (1.0, 2.0), (1e-9, 1e-3)])
@pytest.mark.parametrize("classes", [1, 2, 1000])
def test_the_teacher_is_a_distribution(form, correct, temperature, classes):
    teacher = made_up_teacher(correct, temperature, classes, form)
    assert teacher.label + (classes - 1) * teacher.other == pytest.approx(1.0)
    assert 0 <= teacher.label <= 1 and 0 <= teacher.other <= 1
    assert -math.log(classes) - 1e-9 <= teacher.negative_entropy <= 0


def test_the_paper_at_temperature_1_is_the_teacher_as_given():
    teacher = made_up_teacher(0.97, 1.0, 4, "paper")
    assert (teacher.label, teacher.other) == pytest.approx((0.97, 0.01))


def test_a_mixed_target_is_the_mean_of_its_labels_by_weight():
    logits, index, _ = batch()
    dense = 0.3 * F.one_hot(index, 5) + 0.7 * F.one_hot(index.flip(0), 5)
    for form in ("code", "paper"):
        loss = create_loss(f"tfkd(form='{form}')")
        torch.testing.assert_close(
            loss(logits, dense.double()), 0.3 * loss(logits, index) + 0.7 * loss(logits, index.flip(0))
        )
