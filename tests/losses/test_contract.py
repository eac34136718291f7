"""What every loss promises, checked on everything in the registries: a new loss is tested by existing."""

import copy
import pickle

import pytest
import torch
from torch._subclasses.fake_tensor import FakeTensorMode

from sosr_timm.losses import create_loss
from tests.losses.cases import MULTI_LABEL, NOT_SHIFT_INVARIANT, OURS, SPECS, batch, names_in, targets_of

# They call losses with schedules and without the calls between epochs, which is what losses/test_reminder.py is about.
pytestmark = pytest.mark.filterwarnings("ignore:.*set_progress..? was never called")
KEYWORDS = {spec: {"multi_label": True} for spec in MULTI_LABEL}


def every_target(spec, index, dense):
    return [dense.round()] if spec in MULTI_LABEL else targets_of(spec, index, dense)


@pytest.mark.parametrize("spec", [*SPECS, *MULTI_LABEL])
def test_scalar_parts_and_gradient(spec):
    loss = create_loss(spec, **KEYWORDS.get(spec, {}))
    logits, index, dense = batch(dtype=torch.float32)
    for target in every_target(spec, index, dense):
        logits.grad = None
        value = loss(logits.requires_grad_(), target)
        value.backward()
        assert value.shape == () and value.dtype == torch.float32 and value.isfinite()
        assert logits.grad.isfinite().all() and logits.grad.abs().sum() > 0
        terms = [loss.spec.base.name, *loss.penalties]
        torch.testing.assert_close(sum(loss.parts[name] for name in terms), value.detach())
        for name, part in loss.parts.items():
            assert part.shape == () and not part.requires_grad and part.grad_fn is None, name


@pytest.mark.parametrize("spec", [*SPECS, *MULTI_LABEL])
@pytest.mark.parametrize("dtype", [torch.float16, torch.bfloat16], ids=str)
def test_half_precision_is_float32_of_the_same_logits(spec, dtype):
    loss = create_loss(spec, **KEYWORDS.get(spec, {}))
    logits, index, dense = batch(scale=8.0, dtype=dtype)
    for target in every_target(spec, index, dense.float()):
        half = logits.clone().requires_grad_()
        full = logits.float().requires_grad_()
        with torch.autocast("cpu", dtype=torch.bfloat16):
            value = loss(half, target)
        expected = loss(full, target)
        assert value.dtype == torch.float32 and value.item() == expected.item()
        value.backward(), expected.backward()
        assert torch.equal(half.grad, full.grad.to(dtype))


@pytest.mark.parametrize("spec", OURS)
def test_gradient_in_float64(spec):
    loss = create_loss(spec).eval()
    logits, index, dense = batch()
    for target in targets_of(spec, index, dense):
        assert torch.autograd.gradcheck(lambda z, target=target: loss(z, target), logits.requires_grad_())
        assert loss(logits, target).dtype == torch.float64


@pytest.mark.parametrize("spec", OURS)
@pytest.mark.parametrize("rows, classes", [(1, 5), (6, 2), (1, 2), (3, 1), (1, 1), (2, 3)])
def test_small_shapes(spec, rows, classes):
    loss = create_loss(spec)
    logits, index, dense = batch(rows, classes, scale=20.0)
    for target in [*targets_of(spec, index, dense), *targets_of(spec, index, torch.full_like(dense, 1.0 / classes))]:
        logits.grad = None
        value = loss(logits.requires_grad_(), target)
        value.backward()
        assert value.isfinite() and logits.grad.isfinite().all()
        assert all(part.isfinite() for part in loss.parts.values())


@pytest.mark.parametrize("spec", OURS)
@pytest.mark.parametrize("dtype", [torch.float32, torch.float64, torch.float16, torch.bfloat16], ids=str)
def test_finite_at_huge_logits(spec, dtype):
    loss = create_loss(spec)
    extremes = torch.tensor([[1e4, -1e4, 0, 1e4], [-1e4, 1e4, 1e4, 1e4], [1e4] * 4, [1e4, 0, -1e4, 5e3]], dtype=dtype)
    hot = torch.eye(4)
    for target in targets_of(spec, torch.tensor([0, 0, 1, 0]), 0.5 * hot + 0.5 * hot.flip(0)):
        logits = extremes.clone().requires_grad_()
        value = loss(logits, target)
        value.backward()
        assert value.isfinite() and logits.grad.isfinite().all()


@pytest.mark.parametrize("spec", OURS)
def test_no_synchronisation(spec):
    """Fake tensors have no values: `.item()`, a branch on data or a data-dependent shape would raise."""
    with FakeTensorMode():
        loss = create_loss(spec)
        for target in targets_of(spec, torch.zeros(4, dtype=torch.long), torch.zeros(4, 3)):
            logits = torch.randn(4, 3, requires_grad=True)
            loss(logits, target).backward()
            assert all(isinstance(part, torch.Tensor) for part in loss.parts.values())
        loss.set_progress(0.5)
        loss.end_epoch(sum_over_ranks=lambda tensor: tensor + tensor)


@pytest.mark.parametrize("spec", [*OURS, "bce+sosr"])
def test_compiles_whole(spec):
    torch._dynamo.reset()
    eager, loss = create_loss(spec), create_loss(spec)
    compiled = torch.compile(loss, fullgraph=True, backend="aot_eager")
    for progress in (0.0, 1.0):
        logits, index, dense = batch(dtype=torch.float32, seed=int(progress))
        for module in (eager, loss):
            module.set_progress(progress)
        for target in targets_of(spec, index, dense):
            value, expected = compiled(logits.requires_grad_(), target), eager(logits, target)
            torch.testing.assert_close(value, expected)
            (gradient,) = torch.autograd.grad(value, logits)
            torch.testing.assert_close(gradient, torch.autograd.grad(expected, logits)[0])
            assert loss.parts.keys() == eager.parts.keys()
            for name, part in eager.parts.items():
                torch.testing.assert_close(loss.parts[name], part)
        for module in (eager, loss):
            module.end_epoch()
    torch.testing.assert_close(loss.state_dict(), eager.state_dict())


@pytest.mark.slow
@pytest.mark.parametrize("spec", OURS)
def test_compiles_with_inductor(spec):
    torch._dynamo.reset()
    loss = create_loss(spec).eval()
    logits, index, dense = batch(dtype=torch.float32)
    compiled = torch.compile(loss, fullgraph=True)
    for target in targets_of(spec, index, dense):
        torch.testing.assert_close(compiled(logits, target), loss(logits, target))


@pytest.mark.parametrize("spec", OURS)
def test_state_survives_saving(spec):
    loss = create_loss(spec)
    logits, index, _ = batch()
    loss(logits.requires_grad_(), index)
    loss.end_epoch()
    loss.set_progress(0.3)
    loss(logits, index)
    state = {name: tensor.clone() for name, tensor in loss.state_dict().items()}
    again = create_loss(loss.full_form)
    again.load_state_dict(state)
    torch.testing.assert_close(again.state_dict(), state, rtol=0, atol=0)
    for other in (again, copy.deepcopy(loss), pickle.loads(pickle.dumps(loss))):
        assert other(logits, index).item() == loss(logits, index).item()


@pytest.mark.parametrize("spec", OURS)
def test_state_keeps_its_precision_when_cast(spec):
    loss = create_loss(spec)
    logits, index, _ = batch()
    loss(logits.requires_grad_(), index)
    loss.set_progress(1 / 3)
    before = {name: tensor.clone() for name, tensor in loss.state_dict().items()}
    loss.half().to(torch.bfloat16).float().cpu()
    torch.testing.assert_close(loss.state_dict(), before, rtol=0, atol=0)
    moved = loss.to("meta")
    assert all(tensor.is_meta and tensor.dtype == torch.float64 for tensor in moved.state_dict().values())
    assert all(not tensor.is_meta for tensor in moved.to_empty(device="cpu").state_dict().values())


@pytest.mark.parametrize("spec", OURS)
def test_evaluation_changes_no_state(spec):
    loss = create_loss(spec, num_classes=5)
    logits, index, _ = batch()
    before = copy.deepcopy(loss.state_dict())
    with torch.no_grad():
        loss(logits.requires_grad_(), index)
    loss(logits.detach(), index)
    loss.eval()(logits, index)
    torch.testing.assert_close(loss.state_dict(), before, rtol=0, atol=0)


@pytest.mark.parametrize("spec", [spec for spec in OURS if not names_in(spec) & set(NOT_SHIFT_INVARIANT)])
def test_shift_invariance(spec):
    """A constant added to all logits of a row changes no term: they read differences or probabilities only."""
    loss = create_loss(spec).eval()
    logits, index, dense = batch()
    shift = torch.arange(6.0, dtype=torch.float64).unsqueeze(1)
    for target in targets_of(spec, index, dense):
        torch.testing.assert_close(loss(logits + shift, target), loss(logits, target))
