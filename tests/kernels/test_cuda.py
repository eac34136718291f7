"""The Triton kernel on a GPU."""

import pytest
import torch

from sosr_timm.kernels import choose_kernel
from sosr_timm.losses import create_loss
from tests.kernels.cases import ALL, SPECS, TOLERANCE, assert_same, make_batch
from tests.losses.cases import targets_of

pytestmark = pytest.mark.skipif(not torch.cuda.is_available(), reason="needs a GPU")
SHAPES = [(1, 2), (3, 3), (257, 10), (257, 1000), (3, 4097), (5, 21_841), (2, 50_000)]
DTYPES = [dtype for dtype in TOLERANCE if dtype != torch.float64]


@pytest.mark.parametrize("spec", SPECS)
@pytest.mark.parametrize("shape", SHAPES, ids=str)
def test_shapes(spec, shape):
    if "ols" in spec and shape[1] > 5000:
        pytest.skip("gigabytes of soft labels")
    logits, index, dense = make_batch(*shape, device="cuda")
    assert choose_kernel(logits) == "plain", "the kernel has to be asked for"
    for target in targets_of(spec, index, dense):
        assert_same("triton", spec, logits, target)


@pytest.mark.parametrize("spec", SPECS)
@pytest.mark.parametrize("dtype", DTYPES, ids=str)
def test_dtypes_and_factor(spec, dtype):
    logits, index, dense = make_batch(37, 23, dtype, device="cuda")
    for target in targets_of(spec, index, dense):
        assert_same("triton", spec, logits, target, factor=-3.7)


def test_float64_takes_the_plain_path():
    assert choose_kernel(torch.zeros(2, 3, dtype=torch.float64, device="cuda")) == "plain"


@pytest.mark.parametrize("spec", SPECS)
def test_never_waits_for_the_host(spec):
    logits, index, _ = make_batch(64, 100, device="cuda")
    loss = create_loss(spec, num_classes=100).cuda()
    leaf = logits.requires_grad_()
    (2 * loss(leaf, index)).backward()
    torch.cuda.synchronize()
    torch.cuda.set_sync_debug_mode("error")
    try:
        (2 * loss(leaf, index)).backward()
    finally:
        torch.cuda.set_sync_debug_mode("default")


def test_memory():
    """The gradient, and nothing else as large as the logits."""
    logits, index, _ = make_batch(512, 1000, device="cuda")
    loss, leaf = create_loss(ALL).cuda(), logits.requires_grad_()
    loss(leaf, index).backward()
    leaf.grad = None
    torch.cuda.synchronize()
    before = torch.cuda.memory_allocated()
    torch.cuda.reset_peak_memory_stats()
    loss(leaf, index).backward()
    assert torch.cuda.max_memory_allocated() - before < 1.2 * logits.nbytes
