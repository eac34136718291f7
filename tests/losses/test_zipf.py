"""Zipf's label smoothing: ranks with ties, values, what takes a gradient, and the form that is refused."""

import math

import pytest
import torch
from numpy.testing import assert_allclose
from scipy.stats import rankdata

from sosr_timm.losses import create_loss
from sosr_timm.losses.zipf import ranks, zipf_divergence
from tests.losses import oracles
from tests.losses.cases import batch


def test_ranks_of_ties_are_the_smallest_as_in_scipy():
    logits = torch.randint(4, (30, 9), generator=torch.Generator().manual_seed(0)).double()
    assert ranks(torch.tensor([[5.0, 3.0, 3.0, 1.0]])).tolist() == [[1, 2, 2, 4]]
    assert ranks(logits).tolist() == rankdata(-logits.numpy(), axis=1, method="min").tolist()


def test_worked_values():
    """The label's rank is left out, the others do not move up: q is 6/13, 4/13, 3/13 for ranks 2, 3, 4."""
    logits = torch.tensor([[2.0, 1.0, 0.0, -1.0]], dtype=torch.float64)
    r = [math.exp(z) / sum(map(math.exp, (1, 0, -1))) for z in (1, 0, -1)]
    expected = sum(q / 13 * math.log(q / 13 / p) for q, p in zip((6, 4, 3), r, strict=True))
    assert zipf_divergence(logits, torch.tensor([0])).item() == pytest.approx(expected, rel=1e-12)
    ties = torch.tensor([[3.0, 2.0, 2.0, 0.0]], dtype=torch.float64)  # ranks 2, 2, 4: q is 2/5, 2/5, 1/5
    r = [math.exp(z) / sum(map(math.exp, (2, 2, 0))) for z in (2, 2, 0)]
    expected = sum(q * math.log(q / p) for q, p in zip((0.4, 0.4, 0.2), r, strict=True))
    assert zipf_divergence(ties, torch.tensor([0])).item() == pytest.approx(expected, rel=1e-12)


@pytest.mark.parametrize("power", [0.0, 0.5, 1.0, 2.0])
def test_against_loops(power):
    logits, index, _ = batch(rows=12)
    for z in (logits, logits.round()):
        value, gradient = oracles.zipf(z.numpy(), index.numpy(), power)
        leaf = z.clone().requires_grad_()
        result = zipf_divergence(leaf, index, power).mean()
        result.backward()
        assert_allclose(result.item(), value, rtol=1e-12)
        assert_allclose(leaf.grad, gradient, atol=1e-13)
        assert not leaf.grad.gather(1, index.unsqueeze(1)).any(), "the label's logit is no wrong one"


def test_nothing_to_rank():
    for classes in (1, 2):
        logits = torch.randn(3, classes, requires_grad=True)
        value = zipf_divergence(logits, torch.zeros(3, dtype=torch.long)).sum()
        value.backward()
        assert value.item() == 0.0 and not logits.grad.any()


def test_zipf_distributed_logits_cost_nothing():
    logits = -torch.tensor([[1.0, 2.0, 3.0, 4.0, 5.0]], dtype=torch.float64).log()
    assert zipf_divergence(logits, torch.tensor([2])).item() == pytest.approx(0.0, abs=1e-15)


def test_votes_of_positions_are_refused_by_name():
    with pytest.raises(
        ValueError, match="zipf: ranks='dense' counts votes of the positions of the model's last feature"
    ):
        create_loss("zipf(ranks='dense')")
