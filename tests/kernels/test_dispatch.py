"""Which kernel is chosen, and that whoever transforms the loss gets the plain path."""

import pytest
import torch
from torch._subclasses.fake_tensor import FakeTensorMode

from sosr_timm.kernels import choose_kernel, use_kernel
from sosr_timm.kernels.dispatch import VARIABLE
from sosr_timm.losses import create_loss
from tests.kernels.cases import ALL, make_batch


def test_by_device_and_dtype():
    assert choose_kernel(torch.zeros(2, 3)) == "cpu"
    assert choose_kernel(torch.zeros(2, 3, dtype=torch.float64)) == "cpu"
    assert choose_kernel(torch.zeros(2, 3, device="meta")) == "plain"
    assert choose_kernel(torch.nn.Parameter(torch.zeros(2, 3))) == "cpu"
    assert choose_kernel(torch.zeros(2, 3), torch.zeros(2, 3, requires_grad=True)) == "plain"
    with FakeTensorMode():
        assert choose_kernel(torch.zeros(2, 3)) == "plain"


def test_override(monkeypatch):
    logits = torch.zeros(2, 3)
    with use_kernel("plain"):
        assert choose_kernel(logits) == "plain"
        with use_kernel("cpu"):
            assert choose_kernel(logits) == "cpu"
        assert choose_kernel(logits) == "plain"
    assert choose_kernel(logits) == "cpu"
    monkeypatch.setenv(VARIABLE, "fast")
    with pytest.raises(ValueError, match="must be one of plain, cpu, triton, got 'fast'"):
        choose_kernel(logits)
    with pytest.raises(ValueError, match="a kernel is one of plain, cpu, triton"), use_kernel("fast"):
        pass
    monkeypatch.setenv(VARIABLE, "cpu")
    with pytest.raises(ValueError, match="but the logits are on meta"):
        choose_kernel(logits.to("meta"))
    monkeypatch.setenv(VARIABLE, "triton")
    with pytest.raises(ValueError, match="takes float32, bfloat16 and float16 logits"):
        choose_kernel(logits.double())


@pytest.mark.parametrize("target", ["index", "dense"])
def test_function_transforms(target):
    logits, index, dense = make_batch(6, 5, torch.float64)
    target = {"index": index, "dense": dense}[target]
    loss = create_loss(ALL).eval()
    (expected,) = torch.autograd.grad(loss(leaf := logits.clone().requires_grad_(), target), leaf)
    torch.testing.assert_close(torch.func.grad(lambda z: loss(z, target))(logits), expected)
    _, slope = torch.func.jvp(lambda z: loss(z, target), (logits,), (torch.ones_like(logits),))
    torch.testing.assert_close(slope, expected.sum())


def test_gradient_of_a_learned_target():
    logits, _, dense = make_batch(6, 5, torch.float64)
    loss = create_loss("ce")
    loss(logits, dense.requires_grad_()).backward()
    torch.testing.assert_close(dense.grad, -logits.log_softmax(dim=1) / 6)


@pytest.mark.parametrize("kernel", ["plain", "cpu"])
def test_compiles_whole_whatever_the_override(kernel):
    torch._dynamo.reset()
    logits, index, _ = make_batch(6, 5)
    loss = create_loss("sosr")
    expected = loss(logits, index)
    with use_kernel(kernel):
        torch.testing.assert_close(torch.compile(loss, fullgraph=True, backend="aot_eager")(logits, index), expected)
