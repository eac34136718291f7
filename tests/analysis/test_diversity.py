"""diversity: the sums over all pairs, by class means."""

import numpy as np
import pytest

from sosr_timm.analysis.diversity import feature_diversity
from tests.analysis.harness import analyze


def by_pairs(features: np.ndarray, labels: np.ndarray) -> tuple[float, float]:
    """Kornblith et al. 2021, equation 11, pair by pair."""
    classes = sorted(set(labels.tolist()))

    def distance(j: int, k: int) -> float:
        total, count = 0.0, 0
        for m in np.flatnonzero(labels == j):
            for n in np.flatnonzero(labels == k):
                x, y = features[m].astype(np.float64), features[n].astype(np.float64)
                total += 1 - x @ y / (np.linalg.norm(x) * np.linalg.norm(y))
                count += 1
        return total / count

    within = sum(distance(k, k) for k in classes) / len(classes)
    total = sum(distance(j, k) for j in classes for k in classes) / len(classes) ** 2
    return within, total


def test_class_means_give_the_sums_over_all_pairs():
    rng = np.random.default_rng(0)
    labels = np.array([0] * 5 + [2] * 9 + [5] * 3)  # of different sizes, with classes that have no sample
    features = (rng.normal(size=(len(labels), 4)) + labels[:, None]).astype(np.float32)
    found = feature_diversity(features, labels)
    within, total = by_pairs(features, labels)
    assert found["d_within"] == pytest.approx(within, rel=1e-9)
    assert found["d_total"] == pytest.approx(total, rel=1e-9)
    assert found["r2"] == pytest.approx(1 - within / total, rel=1e-9)


def test_features_without_a_direction_are_refused():
    with pytest.raises(ValueError, match="1 feature vectors have length 0"):
        feature_diversity(np.array([[1.0, 0.0], [0.0, 0.0]]), np.array([0, 1]))
    with pytest.raises(ValueError, match="the same direction"):
        feature_diversity(np.array([[1.0, 0.0], [2.0, 0.0]]), np.array([0, 1]))


def test_splits_side_by_side(runs, tmp_path):
    record = analyze(tmp_path, "diversity", runs["ce"], runs["sosr"], "--splits", "train", "validation")
    assert [(row["run"], row["split"]) for row in record["values"]] == [
        *(("ce", "train"), ("ce", "validation")),
        *(("sosr(threshold=0.2)", "train"), ("sosr(threshold=0.2)", "validation")),
    ]
    assert [row["images"] for row in record["values"][:2]] == [40, 40]
    assert all(0 < row["r2"] < 1 for row in record["values"])
