"""The losses of other papers against stored values that `write_golden_terms` made in 50 digits, without derivatives."""

import json

import pytest
import torch
from safetensors import safe_open

from sosr_timm.kernels import use_kernel
from sosr_timm.losses import PENALTIES, create_loss, read_target
from tests.losses import write_golden_terms

TOLERANCE = {torch.float32: 1e-5, torch.float64: 1e-11}

with safe_open(write_golden_terms.FILE, "pt") as stored:
    INDEX = json.loads(stored.metadata()["index"])
    ARRAYS = {key: stored.get_tensor(key) for key in stored.keys()}  # noqa: SIM118  (not a dict)


def arrays(case, dtype):
    stored = {key: ARRAYS[f"{case['name']}.{key}"] for key in ("logits", "target", "value", "gradient")}
    return [array.to(dtype) if array.is_floating_point() else array for array in stored.values()]


def assert_close(result, expected, dtype):
    """Within the tolerance of the largest entry expected; a divergence near 0 is a difference of larger numbers."""
    largest = max(expected.abs().max().item(), 0.01)
    assert (result.detach() - expected).abs().max().item() <= TOLERANCE[dtype] * largest


def test_the_stored_values_are_those_of_the_loops():
    """Once for each term, on the smallest shape that has a wrong class to choose from."""
    for number, (term, keywords, takes_mixed) in enumerate(write_golden_terms.CASES):
        logits, index, mixed = write_golden_terms.batch(6, 3, seed=number)
        kind, target = ("mixed", mixed) if takes_mixed else ("index", index)
        value, gradient = write_golden_terms.evaluate(term, keywords, logits, target)
        case = f"{number:02}_{term.__name__}_6x3_{kind}"
        assert {"name": case, "loss": write_golden_terms.written(term, keywords)} in INDEX
        assert ARRAYS[f"{case}.value"].item() == value
        assert torch.equal(ARRAYS[f"{case}.gradient"], torch.from_numpy(gradient))


@pytest.mark.parametrize("dtype", TOLERANCE, ids=str)
@pytest.mark.parametrize("kernel", ["plain", "cpu"])
@pytest.mark.parametrize("case", INDEX, ids=lambda case: case["name"])
def test_value_and_gradient(case, kernel, dtype):
    logits, target, value, gradient = arrays(case, dtype)
    name = case["loss"].split("(")[0]
    with use_kernel(kernel):
        loss = create_loss(case["loss"])
        total = loss(logits.requires_grad_(), target)
        if name in PENALTIES:
            labels = read_target(logits, target)
            assert_close(loss.parts[name], value, dtype)
            total, _ = loss.penalties[name](logits, labels)
        assert_close(total, value, dtype)
        assert_close(torch.autograd.grad(total, logits)[0], gradient, dtype)
