"""The Triton kernel against the plain path, row by row in Triton's interpreter: run by test_triton.py, or on its own by

TRITON_INTERPRET=1 python -m pytest tests/kernels/test_triton_interpreted.py
"""

import os

import pytest
import torch

from sosr_timm.losses import create_loss
from tests.kernels.cases import ALL, SPECS, TOLERANCE, assert_same, dense_only, evaluate, make_batch
from tests.losses.cases import targets_of

pytestmark = pytest.mark.skipif(os.environ.get("TRITON_INTERPRET") != "1", reason="needs TRITON_INTERPRET=1")
DTYPES = [dtype for dtype in TOLERANCE if dtype != torch.float64]


@pytest.mark.parametrize("spec", SPECS)
@pytest.mark.parametrize("shape", [(1, 2), (3, 3), (5, 100), (2, 1000)], ids=str)
def test_shapes(spec, shape):
    logits, index, dense = make_batch(*shape)
    for target in targets_of(spec, index, dense):
        assert_same("triton", spec, logits, target)


@pytest.mark.parametrize("spec", SPECS)
@pytest.mark.parametrize("dtype", DTYPES, ids=str)
def test_dtypes_and_factor(spec, dtype):
    logits, index, dense = make_batch(7, 11, dtype)
    for target in targets_of(spec, index, dense):
        assert_same("triton", spec, logits, target, factor=-3.7)


@pytest.mark.parametrize("spec", SPECS)
def test_rows_longer_than_a_block(spec, monkeypatch):
    monkeypatch.setattr("sosr_timm.kernels.triton_rows.ONE_BLOCK", 16)
    logits, index, dense = make_batch(4, 35)
    for target in targets_of(spec, index, dense):
        assert_same("triton", spec, logits.round() if target is dense else logits, target)


@pytest.mark.parametrize("spec", SPECS)
def test_huge_logits_and_ties(spec):
    logits = torch.tensor([[1e4, -1e4, 0, 1e4], [-1e4, 1e4, 1e4, 1e4], [1e4] * 4, [1e4, 0, -1e4, 5e3]])
    hot = torch.eye(4)
    for target in [torch.tensor([0, 0, 1, 0]), *dense_only(spec, 0.5 * hot + 0.5 * hot.flip(0), hot)]:
        assert_same("triton", spec, logits, target)


@pytest.mark.parametrize("share", [0.0, 1.0])
def test_none_and_all_selected(share):
    logits, _, _ = make_batch(9, 30, share=0.0)
    index = logits.argmin(dim=1)
    logits[torch.arange(9), index] += 40.0 * share
    for spec in SPECS[1:3]:
        assert_same("triton", spec, logits, index)
        assert evaluate("triton", spec, logits, index)[2]["selected"].item() == share


def test_smoothing_strides_and_counting():
    logits, index, dense = make_batch(12, 9)
    for target in (index, dense * 0.9 + 0.1 / 9):
        assert_same("triton", "ce+sosr(threshold=0.6)+cp", logits, target, smoothing=0.1)
    for strided in (logits.t().contiguous().t(), logits[:, :1].expand(-1, 9)):
        assert_same("triton", ALL, strided, index)
    assert_same("triton", ALL, logits, dense.t().contiguous().t())
    for target in (index, dense):
        assert_same("triton", "ols+sosr", logits, target, steps=3)


def test_no_gradient_wanted(monkeypatch):
    monkeypatch.setenv("SOSR_TIMM_KERNEL", "triton")
    logits, index, _ = make_batch(5, 6)
    loss = create_loss(ALL)
    assert loss(logits, index).item() == loss(logits.requires_grad_(), index).item()
