"""Temperature scaling finds the temperature that is there, on samples that are not reported on."""

import numpy as np
import pytest
import torch

from sosr_timm.metrics.temperature import HIGHEST, LOWEST, calibrate, fit_temperature
from tests.metrics.references import metrics


def sampled(temperature: float, count: int = 6000, classes: int = 5):
    """Logits whose softmax at `temperature` is the distribution that the labels are drawn from."""
    generator = torch.Generator().manual_seed(1)
    logits = torch.randn(count, classes, generator=generator) * 2 * temperature
    target = torch.multinomial((logits / temperature).softmax(dim=1), 1, generator=generator)[:, 0]
    return logits.numpy(), target.numpy()


@pytest.mark.parametrize("temperature", [0.4, 1.0, 3.0])
def test_the_temperature_of_the_labels_is_found(temperature):
    assert fit_temperature(*sampled(temperature)) == pytest.approx(temperature, rel=0.05)


def test_it_is_the_minimum():
    logits, target = sampled(2.0, count=300)
    best = fit_temperature(logits, target)

    def loss(t):
        return torch.nn.functional.cross_entropy(torch.from_numpy(logits).double() / t, torch.from_numpy(target))

    assert loss(best) < min(loss(best * 1.001), loss(best / 1.001))


def test_without_a_minimum_it_goes_towards_an_end():
    right = 3 * np.eye(4, dtype=np.float32)
    assert LOWEST < fit_temperature(right, np.arange(4)) < 0.1  # from there on the loss is 0 in float64
    assert fit_temperature(right, (np.arange(4) + 1) % 4) == pytest.approx(HIGHEST, rel=1e-3)


def test_the_report_is_on_the_other_samples():
    logits, target = sampled(3.0, count=500)
    found = calibrate(logits, target, share=0.4, seed=7)
    order = np.random.default_rng(7).permutation(500)
    fit, rest = order[:200], order[200:]
    assert found["fitted_on"] == 200
    assert found["temperature"] == pytest.approx(fit_temperature(logits[fit], target[fit]), rel=1e-6)
    before, after = metrics(logits[rest], target[rest]), metrics(logits[rest] / found["temperature"], target[rest])
    for name in before:
        assert found["before"][name] == pytest.approx(before[name], rel=1e-9)
        assert found["after"][name] == pytest.approx(after[name], rel=1e-5)
    assert found["after"]["loss"] < found["before"]["loss"]
    assert found["after"]["ece"] < found["before"]["ece"]


@pytest.mark.parametrize("share", [0.0001, 0.9999])
def test_both_parts_need_samples(share):
    with pytest.raises(ValueError, match="both parts need one"):
        calibrate(*sampled(1.0, count=10), share=share, seed=0)
