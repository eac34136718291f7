"""The pieces of calibration against their definitions."""

import math

import numpy as np
import pytest
import torch

from sosr_timm.metrics import (
    adaptive_calibration_error,
    bin_membership,
    brier_score,
    calibration_error,
    negative_log_likelihood,
)
from tests.metrics.references import softmax


def test_edges_belong_to_the_bin_below():
    confidence = torch.tensor([0.0, 1e-12, 0.2, 0.2 + 1e-12, 0.4, 0.999, 1.0, math.nan], dtype=torch.float64)
    assert bin_membership(confidence, bins=5).int().argmax(dim=1).tolist() == [0, 0, 0, 1, 1, 4, 4, 4]


@pytest.mark.parametrize("bins", [1, 2, 10, 15])
@pytest.mark.parametrize("dtype", [torch.float32, torch.float64])
def test_each_confidence_has_the_one_bin_whose_edges_enclose_it(bins, dtype):
    edges = torch.arange(bins + 1, dtype=dtype) / bins
    confidence = torch.cat([edges[1:], torch.rand(200, dtype=dtype).clamp(min=1e-6)])
    member = bin_membership(confidence, bins)
    assert (member.sum(dim=1) == 1).all()
    index = member.int().argmax(dim=1)
    assert (edges[index] < confidence).all()
    assert (confidence <= edges[index + 1]).all()


def test_scores_per_sample():
    logits = torch.randn(20, 7, dtype=torch.float64)
    target = torch.randint(7, (20,))
    nll = negative_log_likelihood(logits.log_softmax(dim=1), target)
    brier = brier_score(logits.softmax(dim=1), target)
    for row, label, loss, score in zip(logits.numpy(), target.tolist(), nll.tolist(), brier.tolist(), strict=True):
        probabilities = softmax(row)
        assert loss == pytest.approx(-math.log(probabilities[label]), rel=1e-12)
        wanted = np.eye(7)[label]
        assert score == pytest.approx(float(((np.array(probabilities) - wanted) ** 2).sum()), rel=1e-12)


def test_extremes_of_the_brier_score():
    sure = torch.tensor([[1.0, 0.0], [1.0, 0.0], [0.5, 0.5]])
    assert brier_score(sure, torch.tensor([0, 1, 0])).tolist() == [0.0, 2.0, 0.5]


def test_calibration_error_by_hand():
    # 3 samples at 0.9 of which 2 right, 1 sample at 0.3 which is right, one empty bin
    assert calibration_error([3, 0, 1], [2.7, 0.0, 0.3], [2, 0, 1]) == pytest.approx((0.7 + 0.7) / 4)


@pytest.mark.parametrize(("count", "bins"), [(100, 15), (7, 15), (60, 4)])
def test_adaptive_error_has_bins_of_one_size(count, bins):
    random = np.random.default_rng(count)
    confidence, correct = random.random(count), random.random(count) < 0.6
    order = sorted(range(count), key=lambda index: confidence[index])
    parts, start = min(bins, count), 0
    expected = 0.0
    for part in range(parts):
        size = count // parts + (part < count % parts)
        inside = order[start : start + size]
        start += size
        gap = sum(correct[i] for i in inside) / size - sum(confidence[i] for i in inside) / size
        expected += size / count * abs(gap)
    assert adaptive_calibration_error(confidence, correct, bins) == pytest.approx(expected, rel=1e-12)
