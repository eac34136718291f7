"""Detection of another data set: by hand, by loops over thresholds, and by scikit-learn."""

import numpy as np
import pytest
import torch

from sosr_timm.metrics.confidence import OOD_SCORES, confidences
from sosr_timm.metrics.out_of_distribution import detection, out_of_distribution
from sosr_timm.metrics.samples import SampleTable

RANDOM = np.random.default_rng(0)


def slow(inside, outside) -> dict[str, float]:
    """Every value by a loop over pairs or over the scores as thresholds."""
    pairs = [(i > o) + 0.5 * (i == o) for i in inside for o in outside]
    found = {"auroc": sum(pairs) / len(pairs)}
    thresholds = sorted({*inside, *outside}, reverse=True)
    enough = [t for t in thresholds if sum(i >= t for i in inside) >= 0.95 * len(inside)]
    found["fpr95"] = sum(o >= enough[0] for o in outside) / len(outside)
    for name, positive, negative in (
        ("aupr_in", list(inside), list(outside)),
        ("aupr_out", [-o for o in outside], [-i for i in inside]),
    ):
        last, area = 0.0, 0.0
        for t in sorted({*positive, *negative}, reverse=True):
            right, wrong = sum(p >= t for p in positive), sum(n >= t for n in negative)
            area += (right / len(positive) - last) * right / (right + wrong)
            last = right / len(positive)
        found[name] = area
    return found


def test_by_hand():
    found = detection(np.array([4.0, 3.0, 3.0, 1.0]), np.array([3.0, 2.0, 0.0]))
    assert found["auroc"] == pytest.approx((3 + 2.5 + 2.5 + 1) / 12)
    assert found["fpr95"] == pytest.approx(2 / 3), "all four of the own are needed for 95 %, so the threshold is 1"
    assert found["aupr_in"] == pytest.approx((1 + 2 * 3 / 4 + 4 / 6) / 4)
    assert found["aupr_out"] == pytest.approx((1 + 2 / 3 + 3 / 6) / 3)


def test_the_threshold_of_fpr95_takes_exactly_95_percent_and_its_ties():
    inside = np.arange(100.0)
    assert detection(inside, np.array([4.5, 5.0, 200.0]))["fpr95"] == pytest.approx(2 / 3)
    tied = np.repeat([1.0, 0.0], [94, 6])
    assert detection(tied, np.zeros(10))["fpr95"] == 1.0


@pytest.mark.parametrize("levels", [1, 3, 8, 10**9])
@pytest.mark.parametrize(("own", "other"), [(1, 1), (20, 33), (61, 7)])
def test_it_is_the_loop(levels, own, other):
    inside, outside = RANDOM.integers(levels, size=own) + 0.5, RANDOM.integers(levels, size=other) + 0.5
    found = detection(inside, outside)
    for name, value in slow(inside, outside).items():
        assert found[name] == pytest.approx(value, rel=1e-12), name


def test_scikit_learn_says_the_same():
    metrics = pytest.importorskip("sklearn.metrics")
    inside, outside = RANDOM.integers(40, size=300) + 5, RANDOM.integers(40, size=500)
    scores, own = np.concatenate([inside, outside]), np.repeat([1, 0], [300, 500])
    found = detection(inside, outside)
    assert found["auroc"] == pytest.approx(metrics.roc_auc_score(own, scores), rel=1e-12)
    assert found["aupr_in"] == pytest.approx(metrics.average_precision_score(own, scores), rel=1e-12)
    assert found["aupr_out"] == pytest.approx(metrics.average_precision_score(1 - own, -scores), rel=1e-12)
    rates = metrics.roc_curve(own, scores, drop_intermediate=False)
    assert found["fpr95"] == pytest.approx(rates[0][rates[1] >= 0.95][0], rel=1e-12)


def test_the_order_changes_no_bit_and_empty_sets_are_refused():
    inside, outside = RANDOM.random(50).round(1), RANDOM.random(40).round(1)
    assert detection(inside[::-1], RANDOM.permutation(outside)) == detection(inside, outside)
    with pytest.raises(ValueError, match="both sets need an image"):
        detection(inside, np.array([]))


def test_every_score_of_an_evaluation():
    generator = torch.Generator().manual_seed(3)
    tables = []
    for count, scale in ((30, 4.0), (20, 1.0)):
        table = SampleTable(count, 6)
        logits = scale * torch.randn(count, 6, generator=generator)
        table.update(0, logits, torch.zeros(count, dtype=torch.long))
        tables.append((table.read(), confidences(logits.double())))
    (inside, own), (outside, other) = tables
    found = out_of_distribution(inside, outside)
    assert found.pop("count") == 20 and list(found) == list(OOD_SCORES)
    for name, values in found.items():
        assert values["auroc"] == pytest.approx(slow(own[name].tolist(), other[name].tolist())["auroc"], rel=1e-9)
