"""Backward in all its forms: twice, with create_graph, with another factor, with a graph around it."""

import gc
import weakref

import pytest
import torch

from sosr_timm.kernels import use_kernel
from sosr_timm.losses import create_loss
from tests.kernels.cases import ALL, SPECS, make_batch
from tests.losses.cases import targets_of

# They call losses with schedules and without the calls between epochs, which is what losses/test_reminder.py is about.
pytestmark = pytest.mark.filterwarnings("ignore:.*set_progress..? was never called")


@pytest.mark.parametrize("backward", [False, True])
def test_a_loss_is_freed_without_the_collector_of_cycles(backward):
    logits, index, _ = make_batch(20, 7, torch.float32)
    leaf, loss = logits.requires_grad_(), create_loss(ALL)
    gc.disable()
    try:
        value = loss(leaf, index)
        if backward:
            value.backward()
        left = weakref.ref(value)
        del value
        assert left() is None
    finally:
        gc.enable()


@pytest.mark.parametrize("dtype", [torch.float64, torch.float16], ids=str)
def test_backward_twice_through_a_retained_graph(dtype):
    logits, index, _ = make_batch(20, 7, dtype)
    leaf = logits.requires_grad_()
    loss = create_loss("ols+sosr")
    value = loss(leaf, index)
    (first,) = torch.autograd.grad(value, leaf, retain_graph=True)
    kept, counted = first.clone(), loss.base.correct_count.clone()
    (second,) = torch.autograd.grad(2 * value, leaf, retain_graph=True)
    assert torch.equal(first, kept), "the second backward changed what the first gave"
    torch.testing.assert_close(second, 2 * first)
    assert torch.equal(loss.base.correct_count, counted)
    value.backward()
    with pytest.raises(RuntimeError, match="backward through the graph a second time"):
        value.backward()


@pytest.mark.parametrize("spec", SPECS)
def test_second_derivatives(spec):
    logits, index, dense = make_batch(4, 3, torch.float64)
    logits = logits / 8
    for target in targets_of(spec, index, dense):
        loss = create_loss(spec)
        results = []
        for kernel in ("cpu", "plain"):
            with use_kernel(kernel):
                leaf = logits.clone().requires_grad_()
                (gradient,) = torch.autograd.grad(loss(2 * leaf, target), leaf, create_graph=True)
                gradient.square().sum().backward()
                results.append(leaf.grad)
        torch.testing.assert_close(results[0], results[1])


def test_create_graph_counts_nothing():
    logits, index, _ = make_batch(9, 3)
    loss = create_loss("ols")
    value = loss(logits.requires_grad_(), index)
    counted = loss.base.correct_count.clone()
    torch.autograd.grad(value, logits, create_graph=True)
    assert torch.equal(loss.base.correct_count, counted)


def test_float16_survives_a_loss_scale():
    """A gradient of 1e-9 is nothing in float16, but with the loss scale in it it is a number."""
    logits = torch.zeros(1, 4)
    logits[0, 0] = 20.0
    results = []
    for dtype in (torch.float16, torch.float32):
        leaf = logits.to(dtype).requires_grad_()
        (create_loss("ce")(leaf, torch.tensor([0])) * 65536.0).backward()
        results.append(leaf.grad.float())
    assert results[0][0, 1] > 1e-4
    torch.testing.assert_close(results[0][:, 1:], results[1][:, 1:], rtol=1e-3, atol=0)


def test_within_a_model():
    torch.manual_seed(0)
    model, images, target = torch.nn.Linear(5, 7), torch.randn(8, 5), torch.randint(7, (8,))
    gradients = []
    for kernel in ("cpu", "plain"):
        with use_kernel(kernel):
            model.zero_grad()
            (create_loss(ALL)(model(images), target) + model.weight.square().sum()).backward()
            gradients.append(model.weight.grad.clone())
    torch.testing.assert_close(*gradients)


def test_parts_alone_have_no_gradient():
    logits, index, _ = make_batch(9, 3)
    loss = create_loss(ALL)
    loss(logits.requires_grad_(), index)
    assert not any(part.requires_grad for part in loss.parts.values())
