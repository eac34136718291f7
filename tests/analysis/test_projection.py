"""projection: planes, the choice of classes, and what has no templates."""

import numpy as np
import pytest

from sosr_timm.analysis.projection import (
    centroid_plane,
    confused_classes,
    project,
    sample_of,
    template_plane,
)
from tests.analysis.harness import analyze, rows_of, train_small
from tests.analysis.test_main import refused

RNG = np.random.default_rng(0)


def distances(points: np.ndarray) -> np.ndarray:
    return np.linalg.norm(points[:, None] - points[None], axis=2)


def test_a_plane_keeps_the_distances_of_the_points_that_span_it():
    labels = np.repeat([4, 7, 9], 5)
    features = RNG.normal(size=(15, 6))
    origin, basis = centroid_plane(features, labels)
    centroids = np.stack([features[labels == label].mean(axis=0) for label in (4, 7, 9)])
    assert distances(project(centroids, origin, basis)) == pytest.approx(distances(centroids))
    assert project(features, origin, basis).mean(axis=0) == pytest.approx(np.zeros(2), abs=1e-12)
    templates = RNG.normal(size=(3, 6))
    origin, basis = template_plane(templates)
    assert basis @ basis.T == pytest.approx(np.eye(2))
    placed = project(templates, origin, basis)
    assert distances(placed) == pytest.approx(distances(templates))
    # What is beside the plane has no influence.
    normal = np.linalg.svd(basis)[2][2]
    assert project(templates + 3 * normal, origin, basis) == pytest.approx(placed)
    with pytest.raises(ValueError, match="on one line"):
        template_plane(np.array([[0.0, 1.0], [1.0, 2.0], [2.0, 3.0]]))


def test_the_confused_classes_are_the_worst_and_what_it_is_taken_for():
    labels = np.array([0, 0, 1, 1, 1, 1, 2, 2, 3])
    guesses = np.array([0, 1, 3, 3, 0, 1, 2, 2, 3])
    assert confused_classes(labels, guesses, 5) == [1, 3, 0]
    assert confused_classes(labels, labels, 5) == [0, 1, 2]  # without an error


def test_a_class_gives_at_most_what_it_has():
    labels = np.array([0, 1, 1, 1, 2, 2])
    chosen = sample_of(labels, [1, 0, 2], 2, seed=3)
    assert labels[chosen].tolist() == [1, 1, 0, 2, 2]
    assert len(set(chosen.tolist())) == 5


@pytest.mark.parametrize("plane", ["centroids", "templates", "tsne"])
def test_runs_side_by_side(plane, runs, tmp_path):
    record = analyze(tmp_path, "projection", runs["ce"], runs["sosr"], "--plane", plane, "--classes", "3", "5", "8")
    assert record["classes"] == ["3", "5", "8"]
    rows = rows_of(tmp_path, "projection")
    assert {row["class"] for row in rows} == {"3", "5", "8"}
    assert len(rows) == sum(row["images"] for row in record["values"])
    assert all(np.isfinite([float(row["x"]), float(row["y"])]).all() for row in rows)


def test_mistakes_are_one_line(runs, tmp_path):
    assert "no such class of 10" in refused("projection", runs["ce"], "--classes", "3", "5", "ten")
    assert "3 different classes" in refused("projection", runs["ce"], "--classes", "3", "5")
    assert "the images have 2" in refused("projection", runs["ce"], "--num-samples", "2")
    causal = train_small(tmp_path, "causal", "--model", "cifar_resnet32_causal_norm", "--model-kwargs", "blocks=5")
    assert "has no templates; --plane centroids works" in refused("projection", causal, "--plane", "templates")
