"""The parts of label smoothing: values, that they add up to it, and rows that lack one."""

import pytest
import torch
from numpy.testing import assert_allclose

from sosr_timm.losses import create_loss
from sosr_timm.losses.smoothing_parts import PARTS, part_of_smoothing
from tests.losses import oracles
from tests.losses.cases import batch

pytestmark = pytest.mark.usefixtures("either_kernel")

LOGITS = torch.tensor([[2.0, 1.0, 0.0, -1.0]], dtype=torch.float64)


@pytest.mark.parametrize(
    "part, label, value",
    [
        ("regularization", 0, 2.0),
        ("regularization", 1, 1.5),
        ("regularization", 3, 0.0),
        ("amplification", 0, 0.0),
        ("amplification", 1, -1.0),
        ("amplification", 3, -2.0),
        ("top", 0, 0.0),
        ("top", 3, -3.0),
    ],
)
def test_worked_values(part, label, value):
    assert part_of_smoothing(LOGITS, torch.tensor([label]), part).item() == value


@pytest.mark.parametrize("part", PARTS)
def test_against_loops(part):
    logits, index, _ = batch(rows=12)
    for z in (logits, logits.round()):
        value, gradient = oracles.smoothing_part(z.numpy(), index.numpy(), part)
        leaf = z.clone().requires_grad_()
        result = part_of_smoothing(leaf, index, part).mean()
        result.backward()
        assert_allclose(result.item(), value, rtol=1e-12, atol=1e-15)
        assert_allclose(leaf.grad, gradient, atol=1e-14)


def test_the_parts_make_label_smoothing():
    """Equation 5: weighed by how many logits each has, over K, they add up; and so do the top one and MaxSup."""
    logits, index, _ = batch(rows=12)
    at = logits.gather(1, index.unsqueeze(1))
    below, above = (logits < at).sum(dim=1) / 5, (logits > at).sum(dim=1) / 5
    whole = below * part_of_smoothing(logits, index, "regularization")
    whole = whole + above * part_of_smoothing(logits, index, "amplification")
    torch.testing.assert_close(whole, at.squeeze(1) - logits.mean(dim=1))
    torch.testing.assert_close(
        create_loss("ls_parts(part='top')+maxsup")(logits, index), create_loss("ce", smoothing=0.1)(logits, index)
    )
