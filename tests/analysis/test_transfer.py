"""Linear transfer: against a slow optimisation of the objective, what is chosen, and the command."""

import sys

import numpy as np
import pytest
import scipy.optimize
from timm.models.vision_transformer import VisionTransformer

from sosr_timm.analysis.transfer import STRENGTHS, Probe, hold_out, linear_transfer
from sosr_timm.errors import UserError
from tests.analysis.harness import analyze, refused, rows_of


def blobs(count, classes, width, seed, spread=1.5):
    random = np.random.default_rng(seed)
    labels = np.arange(count) % classes
    centres = np.random.default_rng(0).normal(size=(classes, width)) * 2
    return centres[labels] + spread * random.normal(size=(count, width)), labels


def test_the_objective():
    """The regression is at the minimum of sum of -log p_y + strength / 2 ||W||^2, found by numerical gradients."""
    (x, y), strength = blobs(45, 3, 2, 1), 2.5

    def objective(flat):
        weight, bias = flat[:6].reshape(3, 2), flat[6:]
        logits = x @ weight.T + bias
        losses = np.log(np.exp(logits).sum(axis=1)) - logits[np.arange(len(y)), y]
        return losses.sum() + strength / 2 * (weight**2).sum()

    slow = scipy.optimize.minimize(objective, np.zeros(9), tol=1e-10)
    probe = Probe(1000)
    fit = probe.fit(strength, (x, y), (x, y))
    found = np.concatenate([probe.regression.coef_.ravel(), probe.regression.intercept_])
    assert fit.converged and objective(found) == pytest.approx(slow.fun, rel=1e-4)
    np.testing.assert_allclose(probe.regression.coef_.ravel(), slow.x[:6], atol=0.02)


def test_45_strengths_from_strongest_to_weakest():
    assert len(STRENGTHS) == 45 and STRENGTHS[0] == pytest.approx(1e-6) and STRENGTHS[-1] == pytest.approx(1e5)
    assert np.allclose(np.diff(np.log(STRENGTHS)), np.log(STRENGTHS[1] / STRENGTHS[0]))
    fits, last = linear_transfer(blobs(60, 3, 4, 1), blobs(90, 3, 4, 2), strengths=STRENGTHS[::6])
    strengths = [fit.strength for fit in fits]
    assert strengths == sorted(strengths, reverse=True)
    best = max(fit.accuracy for fit in fits)
    assert last.strength == max(fit.strength for fit in fits if fit.accuracy == best)
    assert last.accuracy > 70


def test_the_held_out_part_is_a_share_of_each_class():
    labels = np.array([0] * 10 + [1] * 5 + [2])
    held = hold_out(labels, 0.2, 0)
    assert [int(held[labels == label].sum()) for label in range(3)] == [2, 1, 0]
    assert np.array_equal(held, hold_out(labels, 0.2, 0)) and not np.array_equal(held, hold_out(labels, 0.2, 5))


def test_one_class_is_refused():
    with pytest.raises(UserError, match="one class"):
        linear_transfer((np.zeros((4, 2)), np.zeros(4)), (np.zeros((4, 2)), np.zeros(4)))


def test_one_image_of_each_class_leaves_none_to_choose_on():
    with pytest.raises(UserError, match="one training image of each class"):
        linear_transfer(blobs(3, 3, 2, 1), blobs(6, 3, 2, 2))


def test_iterations_that_run_out_are_told():
    assert not Probe(2).fit(1e-6, blobs(60, 3, 4, 1), blobs(60, 3, 4, 2)).converged


def test_the_command(runs, tmp_path):
    arguments = ("--train-images", 80, "--max-iter", 50)
    record = analyze(tmp_path, "transfer", runs["ce"], runs["sosr"], *arguments)
    row, _ = rows_of(tmp_path, "transfer")
    assert (row["train_images"], row["test_images"], row["features"]) == ("80", "40", "24")
    assert [len(fits) for fits in record["fits"].values()] == [45, 45]
    assert float(row["top1"]) > 20


def test_what_cannot_be_transferred(runs, monkeypatch):
    refused("which images", "transfer", "resnet18")
    refused("unknown data set 'digitss'", "transfer", runs["ce"], "--dataset", "digitss")
    monkeypatch.setitem(sys.modules, "sklearn", None)
    monkeypatch.delitem(sys.modules, "sklearn.linear_model", raising=False)
    refused(r"transfer needs the package 'sklearn'.*sosr-timm\[analysis\]", "transfer", runs["ce"])


def test_a_model_without_a_head(runs, monkeypatch):
    original = VisionTransformer.forward_head
    monkeypatch.setattr(VisionTransformer, "forward_head", lambda self, x: original(self, x))
    refused("the model has no head as timm's models have it", "transfer", runs["ce"])
