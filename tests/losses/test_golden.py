"""The losses against stored arrays that loops in NumPy made straight from the formulas."""

import json
from pathlib import Path

import pytest
import torch
from safetensors import safe_open

from sosr_timm.losses import create_loss, read_target
from sosr_timm.losses.sosr import selected_spread

pytestmark = pytest.mark.usefixtures("either_kernel")

FILE = Path(__file__).resolve().parents[1] / "fixtures" / "losses.safetensors"
TOLERANCE = {torch.float32: 1e-5, torch.float64: 1e-11}

with safe_open(FILE, "pt") as stored:
    INDEX = json.loads(stored.metadata()["index"])
    ARRAYS = {key: stored.get_tensor(key) for key in stored.keys()}  # noqa: SIM118  (not a dict)
STATELESS = [case for case in INDEX if not case["kind"].startswith("ols")]
OLS = [case for case in INDEX if case["kind"].startswith("ols")]


def arrays(case, dtype):
    prefix = f"{case['name']}."
    found = {key.removeprefix(prefix): value for key, value in ARRAYS.items() if key.startswith(prefix)}
    return {key: value.to(dtype) if value.is_floating_point() else value for key, value in found.items()}


def assert_close(result, expected, dtype):
    """Within the tolerance of the largest entry expected."""
    largest = expected.abs().max().item() or 1.0
    assert (result.detach() - expected).abs().max().item() <= TOLERANCE[dtype] * largest


def assert_value_and_gradient(value, logits, expected_value, expected_gradient, dtype):
    (gradient,) = torch.autograd.grad(value, logits, retain_graph=True)
    assert_close(value, expected_value, dtype)
    assert_close(gradient, expected_gradient, dtype)


def penalty_of(case):
    """The penalty of a case with weight 1, by name."""
    written = {
        "sosr": f"sosr(threshold={case.get('threshold')}, beta=1.0)",
        "maxsup": "maxsup(start=1.0, end=1.0)",
        "cp": "cp(weight=1.0)",
    }
    return create_loss(written[case["kind"]], smoothing=case.get("smoothing", 0.0))


def test_every_case_is_covered():
    assert len(STATELESS) + len(OLS) == len(INDEX) == 80


@pytest.mark.parametrize("dtype", TOLERANCE, ids=str)
@pytest.mark.parametrize("case", STATELESS, ids=lambda case: case["name"])
def test_stateless(case, dtype):
    stored = arrays(case, dtype)
    logits = stored["logits"].requires_grad_()
    if case["kind"] == "ce":
        value = create_loss("ce", smoothing=case["smoothing"])(logits, stored["target"])
        return assert_value_and_gradient(value, logits, stored["value"], stored["grad"], dtype)

    loss = penalty_of(case)
    total = loss(logits, stored["target"])
    labels = read_target(logits, stored["target"], case.get("smoothing", 0.0))
    penalty, _ = loss.penalties[case["kind"]](logits, labels)
    assert_value_and_gradient(penalty, logits, stored["penalty"], stored["penalty_grad"], dtype)
    assert_close(loss.parts[case["kind"]], stored["penalty"], dtype)
    if "ce" in stored:
        assert_value_and_gradient(total - penalty, logits, stored["ce"], stored["ce_grad"], dtype)
    if case["kind"] == "sosr":
        _, selected = selected_spread(logits, labels, case["threshold"])
        assert selected.tolist() == stored["selected"].bool().tolist()
        assert loss.parts["selected"].item() == pytest.approx(stored["selected"].double().mean().item())


@pytest.mark.parametrize("dtype", TOLERANCE, ids=str)
def test_ols_over_three_epochs(dtype):
    loss = create_loss("ols(alpha=0.5, init='uniform')")
    for case in OLS:
        stored = arrays(case, dtype)
        if case["kind"] == "ols_soft_labels":
            assert loss.base.correct_count.tolist() == stored["correct_count"].tolist()
            loss.end_epoch()
            assert_close(loss.base.soft_labels.to(dtype), stored["soft_labels"], dtype)
        else:
            logits = stored["logits"].requires_grad_()
            value = loss(logits, stored["target"])
            assert_value_and_gradient(value, logits, stored["value"], stored["grad"], dtype)
