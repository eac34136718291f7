"""The CPU kernel against the plain path: odd shapes, dtypes, targets, selections, strides."""

import pytest
import torch

from sosr_timm.kernels import use_kernel
from sosr_timm.kernels.cpu_block import Block
from sosr_timm.losses import create_loss
from tests.kernels.cases import ALL, COUNTING, SHAPES, SPECS, TOLERANCE, assert_same, dense_only, evaluate, make_batch
from tests.losses.cases import targets_of

KERNEL = "cpu"


@pytest.mark.parametrize("spec", SPECS)
@pytest.mark.parametrize("shape", SHAPES, ids=str)
def test_shapes(spec, shape):
    if "ols" in spec and shape[1] > 1000:
        pytest.skip("400 MB of soft labels")
    logits, index, dense = make_batch(*shape)
    for target in targets_of(spec, index, dense):
        assert_same(KERNEL, spec, logits, target)


@pytest.mark.parametrize("spec", SPECS)
@pytest.mark.parametrize("dtype", TOLERANCE, ids=str)
def test_dtypes(spec, dtype):
    logits, index, dense = make_batch(37, 23, dtype)
    for target in targets_of(spec, index, dense):
        assert_same(KERNEL, spec, logits, target, factor=1.0)
        assert_same(KERNEL, spec, logits, target, factor=-3.7)


@pytest.mark.parametrize("share", [0.0, 1.0])
@pytest.mark.parametrize("spec", SPECS)
def test_none_and_all_selected(spec, share):
    logits, _, _ = make_batch(41, 30, share=0.0)
    index = logits.argmin(dim=1)
    logits[torch.arange(41), index] += 40.0 * share
    assert_same(KERNEL, spec, logits, index)
    if "sosr" in spec:
        assert evaluate(KERNEL, spec, logits, index)[2]["selected"].item() == share


@pytest.mark.parametrize("spec", ["ce", "sosr(threshold=0.6)", "ce+sosr+cp"])
def test_smoothing_of_dense_targets_is_taken_out(spec):
    logits, index, dense = make_batch(40, 12)
    for target in (index, dense * 0.9 + 0.1 / 12):
        assert_same(KERNEL, spec, logits, target, smoothing=0.1)


@pytest.mark.parametrize("spec", SPECS)
def test_ties(spec):
    logits, index, dense = make_batch(40, 6)
    logits = logits.round()
    logits[:10] = 0.0
    logits[10:20, 2:5] = 3.0
    for threshold in ("", "sosr(threshold=0.1)"):
        for target in targets_of(spec, index, dense):
            assert_same(KERNEL, threshold or spec, logits, target)


@pytest.mark.parametrize("spec", SPECS)
@pytest.mark.parametrize("dtype", [torch.float32, torch.float64], ids=str)
def test_huge_logits(spec, dtype):
    logits = torch.tensor([[1e4, -1e4, 0, 1e4], [-1e4, 1e4, 1e4, 1e4], [1e4] * 4, [1e4, 0, -1e4, 5e3]], dtype=dtype)
    hot = torch.eye(4, dtype=dtype)
    for target in [torch.tensor([0, 0, 1, 0]), *dense_only(spec, 0.5 * hot + 0.5 * hot.flip(0), hot)]:
        assert_same(KERNEL, spec, logits, target)


@pytest.mark.parametrize(
    "strided", [lambda z: z.t().contiguous().t(), lambda z: z[::2, 1::3], lambda z: z[:, :1].expand(-1, 5)]
)
def test_strides(strided):
    logits, _, _ = make_batch(40, 30)
    logits = strided(logits)
    rows, classes = logits.shape
    _, index, dense = make_batch(rows, classes, seed=1)
    for target in (index, dense):
        assert_same(KERNEL, ALL, logits, target)


def test_several_blocks(monkeypatch):
    """Blocks that do not divide the rows, and rows longer than a block, change nothing."""
    logits, index, dense = make_batch(57, 30)
    for size in (1, 100, 1000):
        monkeypatch.setattr("sosr_timm.kernels.cpu.BLOCK", size)
        for target in (index, dense):
            assert_same(KERNEL, ALL, logits, target)
            assert_same(KERNEL, COUNTING, logits, target, steps=3)


def test_evaluation_and_no_grad():
    logits, index, _ = make_batch(20, 7)
    loss = create_loss("ols+sosr", num_classes=7).eval()
    with torch.no_grad():
        quiet = loss(logits.requires_grad_(), index)
    assert not quiet.requires_grad and not loss.base.correct_count.any()
    assert loss(logits, index).requires_grad and not loss(logits.detach(), index).requires_grad
    assert quiet.item() == loss(logits, index).item()


def test_the_kernel_runs_by_default(monkeypatch):
    calls = []
    monkeypatch.setattr(Block, "run", lambda self, *rows: calls.append(rows[3].zero_()))
    logits, index, _ = make_batch(20, 7)
    for spec in SPECS:
        create_loss(spec)(logits, index)
    assert len(calls) == len(SPECS)
    create_loss("bce+sosr")(logits, index)
    with use_kernel("plain"):
        create_loss("sosr")(logits, index)
    assert len(calls) == len(SPECS)
