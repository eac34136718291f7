"""The loops that judge the losses are themselves judged: by finite differences and by worked examples."""

import numpy as np
import pytest
from numpy.testing import assert_allclose

from tests.losses import oracles

RNG = np.random.default_rng(3)
LOGITS = RNG.normal(size=(4, 5)) * 4
INDEX = np.array([LOGITS[0].argmax(), 1, LOGITS[2].argmax(), 0])
PARTS = ("regularization", "amplification", "top")
DENSE = 0.7 * np.eye(5)[INDEX] + 0.3 * np.eye(5)[INDEX[::-1]]


@pytest.mark.parametrize("target", [INDEX, DENSE], ids=["index", "dense"])
def test_gradients_by_finite_differences(target):
    ols = oracles.OnlineLabelSmoothing(5)
    ols(LOGITS, INDEX)
    ols.end_epoch()
    functions = {
        "ce": lambda z: oracles.cross_entropy(z, target, 0.1),
        "sosr": lambda z: oracles.sosr(z, target, 0.5),
        "maxsup": oracles.maxsup,
        "cp": oracles.confidence_penalty,
        "ols": lambda z: ols(z, target),
        "focal": lambda z: oracles.focal(z, target, gamma=2.5),
        "focal smoothed": lambda z: oracles.focal(z, target, schedule=53, smoothing=0.1),
        "logitnorm": lambda z: oracles.logit_normalization(z, target, 0.5, 0.1),
        "relaxation": lambda z: oracles.label_relaxation(z, target, 0.3),
        "tfkd": lambda z: oracles.teacher_free(z, target),
        "tfkd of the paper": lambda z: oracles.teacher_free(z, target, form="paper", temperature=3.0),
        "logit_penalty": oracles.logit_penalty,
        "margin": lambda z: oracles.margin(z, 3.0),
        "zipf": lambda z: oracles.zipf(z, INDEX),
        **{part: lambda z, part=part: oracles.smoothing_part(z, INDEX, part) for part in PARTS},
    }
    for name, function in functions.items():
        numeric = oracles.numeric_gradient(lambda z, function=function: function(z)[0], LOGITS)
        assert_allclose(function(LOGITS)[1], numeric, atol=1e-7, err_msg=name)


def test_worked_examples():
    right, wrong = np.array([[2.0, 1, 0, -1]]), np.array([1])
    assert oracles.sosr(np.array([[8.0, 1, -1, 0]]), [0])[0] == pytest.approx(0.5)
    assert oracles.sosr(np.array([[6, 5.5, -1, 1]]), np.array([[0.6, 0.4, 0, 0]]))[0] == pytest.approx(0.5)
    assert oracles.cross_entropy(right, [0])[0] == pytest.approx(0.440190, abs=1e-6)
    assert oracles.cross_entropy(right, wrong, 0.1)[0] == pytest.approx(1.490190, abs=1e-6)
    assert oracles.cross_entropy(right, wrong)[0] + 0.1 * oracles.maxsup(right)[0] == pytest.approx(1.590190, abs=1e-6)
    assert oracles.confidence_penalty(right)[0] == pytest.approx(-0.947537, abs=1e-6)
    ols = oracles.OnlineLabelSmoothing(3)
    ols.soft[0] = [0.7, 0.2, 0.1]
    assert ols(np.array([[1.0, 0, -1]]), [0])[0] == pytest.approx(0.607606, abs=1e-6)
