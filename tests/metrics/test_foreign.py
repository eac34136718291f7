"""Selective classification, calibration of classes and out-of-distribution metrics against other people's libraries."""

import numpy as np
import pytest
import torch

from sosr_timm.metrics.confidence import OOD_SCORES, confidences
from sosr_timm.metrics.out_of_distribution import detection
from sosr_timm.metrics.selective import Ranking, selective_of

pytestmark = pytest.mark.slow  # their imports take most of the time
GENERATOR = torch.Generator().manual_seed(0)
COUNT, CLASSES = 400, 8
TARGET = torch.randint(CLASSES, (COUNT,), generator=GENERATOR)
LOGITS = 2 * torch.randn(COUNT, CLASSES, generator=GENERATOR) + 2 * torch.nn.functional.one_hot(TARGET, CLASSES)
OUTSIDE = 1.5 * torch.randn(250, CLASSES, generator=GENERATOR)


def test_torch_uncertainty_has_the_same_selective_classification():
    reason = "torch-uncertainty is not installed: pip install torch-uncertainty"
    theirs = pytest.importorskip("torch_uncertainty.metrics.classification", reason=reason)
    probabilities = LOGITS.double().softmax(dim=1)
    confidence, wrong = probabilities.amax(dim=1).numpy(), (probabilities.argmax(dim=1) != TARGET).numpy()
    ours, errors = selective_of(confidence, wrong), Ranking.of(confidence, wrong).accepted_errors()
    risks = errors / np.arange(1, COUNT + 1)

    def said(metric) -> float:
        metric.update(probabilities, TARGET)
        return float(metric.compute())

    # they draw lines between the points and stretch coverage from 1 / N on to all of [0, 1]; so does this
    def stretched(area: float, first: float, last: float) -> float:
        return (COUNT * area - (first + last) / 2) / (COUNT - 1)

    assert said(theirs.AURC()) == pytest.approx(stretched(ours["aurc"], risks[0], risks[-1]), abs=1e-6)
    generalised = errors / COUNT
    mean = generalised.mean()
    assert said(theirs.AUGRC()) == pytest.approx(stretched(mean, generalised[0], generalised[-1]), abs=1e-6)
    assert ours["augrc"] == pytest.approx(mean - generalised[-1] / (2 * COUNT), abs=1e-12)
    for percent in (80, 90, 95):
        metric = theirs.RiskAtxCov(cov_threshold=percent / 100)
        assert said(metric) == pytest.approx(ours[f"risk_at_{percent}"], abs=1e-6)


def both(score: str) -> tuple[np.ndarray, np.ndarray]:
    """(own, other) scores, rounded so that there are ties."""
    return tuple(confidences(logits.double())[score].numpy().round(2) for logits in (LOGITS, OUTSIDE))


@pytest.mark.parametrize("score", OOD_SCORES)
def test_torch_uncertainty_has_the_same_fpr95(score):
    reason = "torch-uncertainty is not installed: pip install torch-uncertainty"
    metric = pytest.importorskip("torch_uncertainty.metrics.classification", reason=reason).FPR95(pos_label=0)
    inside, outside = both(score)
    foreign = np.repeat([0, 1], [len(inside), len(outside)])
    metric.update(torch.from_numpy(np.concatenate([inside, outside])), torch.from_numpy(foreign))
    assert float(metric.compute()) == pytest.approx(detection(inside, outside)["fpr95"], abs=1e-6)


@pytest.mark.parametrize("score", OOD_SCORES)
def test_pytorch_ood_has_the_same_detection(score):
    theirs = pytest.importorskip("pytorch_ood.metrics", reason="pytorch-ood is not installed: pip install pytorch-ood")
    inside, outside = both(score)
    ours = detection(inside, outside)
    scores = torch.from_numpy(np.concatenate([inside, outside]))
    foreign = torch.from_numpy(np.repeat([0, -1], [len(inside), len(outside)]))
    # their scores grow with being foreign, and foreign images have negative labels
    said = theirs.OODMetrics().update(-scores, foreign).compute()
    assert said["AUROC"] == pytest.approx(ours["auroc"], abs=1e-5)
    assert said["AUPR-IN"] == pytest.approx(ours["aupr_in"], abs=5e-3), "they draw lines between the points"
    assert said["AUPR-OUT"] == pytest.approx(ours["aupr_out"], abs=5e-3)
    # and their rate is of accepting own images as foreign; with the sets exchanged it is ours
    exchanged = theirs.OODMetrics().update(scores, -1 - foreign).compute()
    assert exchanged["FPR95TPR"] == pytest.approx(ours["fpr95"], abs=1e-5)
