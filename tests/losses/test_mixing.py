"""Every mode of timm's Mixup and FastCollateMixup, against the loops: the label sets, the values and the gradients."""

import itertools

import numpy as np
import pytest
import torch
from numpy.testing import assert_allclose
from timm.data.mixup import FastCollateMixup, Mixup

from sosr_timm.losses import create_loss, read_target
from sosr_timm.losses.sosr import selected_spread
from tests.losses import oracles

ROWS, CLASSES = 8, 6
ALPHAS = {"mixup": (0.4, 0.0), "cutmix": (0.0, 1.0), "both": (0.4, 1.0)}
LABELS = {"different": [0, 1, 2, 3, 4, 5, 0, 1], "some equal": [0, 1, 2, 3, 3, 5, 1, 4], "all equal": [2] * ROWS}
MODES = [(Mixup, mode) for mode in ("batch", "pair", "elem")]
MODES += [(FastCollateMixup, mode) for mode in ("batch", "pair", "elem", "half")]


def mixed_target(kind, mode, alphas, labels, smoothing, prob, seed):
    """A dense target as timm makes it, and the two labels of each row."""
    rng = np.random.default_rng(seed)
    np.random.seed(seed)  # timm mixes with NumPy's global generator
    mixup_alpha, cutmix_alpha = ALPHAS[alphas]
    mix = kind(mixup_alpha, cutmix_alpha, prob=prob, mode=mode, label_smoothing=smoothing, num_classes=CLASSES)
    if kind is Mixup:
        _, target = mix(torch.tensor(rng.normal(size=(ROWS, 3, 16, 16))), torch.tensor(labels))
    else:
        images = rng.integers(256, size=(ROWS, 3, 16, 16), dtype=np.uint8)
        _, target = mix(list(zip(images, labels, strict=True)))
    return target, list(zip(labels, reversed(labels), strict=True))[: len(target)]


def confident_logits(pairs, seed):
    """Logits that favour the labels, strongly in some rows and not at all in others."""
    rng = np.random.default_rng(seed)
    logits = rng.normal(size=(len(pairs), CLASSES))
    for row, (first, second) in enumerate(pairs):
        logits[row, [first, second]] += (0.0, 2.0, 8.0)[row % 3]
    return logits


def check(spec, logits, target, smoothing, value, gradient):
    tensor = torch.tensor(logits, requires_grad=True)
    loss = create_loss(spec, smoothing=smoothing)
    result = loss(tensor, target)
    result.backward()
    assert_allclose(result.item(), value, rtol=1e-10)
    assert_allclose(tensor.grad.numpy(), gradient, atol=1e-12)
    return loss


@pytest.mark.parametrize("smoothing", [0.0, 0.1])
@pytest.mark.parametrize("alphas", ALPHAS)
@pytest.mark.parametrize("kind, mode", MODES, ids=lambda value: getattr(value, "__name__", value))
def test_against_loops(kind, mode, alphas, smoothing):
    for seed, (labels, prob) in enumerate(itertools.product(LABELS, (1.0, 0.5))):
        target, pairs = mixed_target(kind, mode, alphas, LABELS[labels], smoothing, prob, seed)
        logits = confident_logits(pairs, seed)
        dense = target.double().numpy()

        # The labels of a row are its own and its partner's, or one of the two where nothing was mixed in.
        mask = read_target(torch.tensor(logits), target, smoothing).mask().numpy()
        for row, pair in enumerate(pairs):
            found = set(np.flatnonzero(mask[row]))
            assert found and found <= set(pair)
            assert found == oracles.label_set(dense[row], CLASSES, smoothing)

        ce, ce_gradient = oracles.cross_entropy(logits, dense)
        check("ce", logits, target, smoothing, ce, ce_gradient)
        for threshold in (0.6, 0.99):
            penalty, gradient, selected = oracles.sosr(logits, dense, threshold, smoothing)
            spec = f"sosr(threshold={threshold}, beta=2.0)"
            loss = check(spec, logits, target, smoothing, ce + 2 * penalty, ce_gradient + 2 * gradient)
            labels_read = read_target(torch.tensor(logits), target, smoothing)
            assert selected_spread(torch.tensor(logits), labels_read, threshold)[1].tolist() == selected.tolist()
            assert loss.parts["selected"].item() == pytest.approx(selected.mean())
        penalty, gradient = oracles.confidence_penalty(logits)
        check("cp(weight=0.3)", logits, target, smoothing, ce + 0.3 * penalty, ce_gradient + 0.3 * gradient)
        if not smoothing:
            penalty, gradient = oracles.maxsup(logits)
            check("maxsup", logits, target, 0.0, ce + 0.1 * penalty, ce_gradient + 0.1 * gradient)


@pytest.mark.usefixtures("either_kernel")
@pytest.mark.parametrize("kind, mode", MODES, ids=lambda value: getattr(value, "__name__", value))
def test_ols_over_epochs(kind, mode):
    loss, oracle = create_loss("ols(alpha=0.3)"), oracles.OnlineLabelSmoothing(CLASSES, alpha=0.3)
    for epoch in range(3):
        for seed in range(3 * epoch, 3 * epoch + 3):
            target, pairs = mixed_target(kind, mode, "both", LABELS["some equal"], 0.0, 0.7, seed)
            logits = confident_logits(pairs, seed)
            tensor = torch.tensor(logits, requires_grad=True)
            value, gradient = oracle(logits, target.double().numpy())
            result = loss(tensor, target)
            result.backward()
            assert_allclose(result.item(), value, rtol=1e-10)
            assert_allclose(tensor.grad.numpy(), gradient, atol=1e-12)
        assert loss.base.correct_count.tolist() == oracle.counts
        loss.end_epoch(), oracle.end_epoch()
        assert_allclose(loss.base.soft_labels.numpy(), oracle.soft, rtol=1e-10)


def test_selection_happens():
    """The cases above are no empty exercise: mixed rows are selected, and rows with one label too."""
    target, pairs = mixed_target(Mixup, "elem", "both", LABELS["some equal"], 0.1, 0.5, 0)
    labels = read_target(torch.tensor(confident_logits(pairs, 0)), target, 0.1)
    _, selected = selected_spread(torch.tensor(confident_logits(pairs, 0)), labels, 0.6)
    counts = labels.mask().sum(dim=1)
    assert (selected & (counts == 1)).any() and (selected & (counts == 2)).any() and not selected.all()


def test_rounding_is_no_label():
    """Off values of s/K leave rounding of about 1e-8 behind, which is no label."""
    target, pairs = mixed_target(Mixup, "batch", "mixup", LABELS["all equal"], 0.1, 1.0, 0)
    labels = read_target(torch.zeros(ROWS, CLASSES), target, 0.1)
    assert labels.mask().sum(dim=1).tolist() == [1] * ROWS
    assert (labels.weights[~labels.mask()].abs() < 1e-6).all() and len(pairs) == ROWS
