"""logits: densities, the share near zero, confidence."""

import numpy as np
import pytest
from scipy.stats import gaussian_kde

from sosr_timm.analysis.logits import confidence, density, near_zero_share, summary_of
from tests.analysis.harness import analyze
from tests.analysis.test_main import refused


def test_the_density_is_that_of_gaussian_kernels():
    rng = np.random.default_rng(0)
    values = np.concatenate([rng.normal(size=300), rng.normal(6, 0.5, 200)]).reshape(100, 5)
    points = np.linspace(-5, 10, 200)
    exact = gaussian_kde(values.ravel())(points)
    assert density(values, points) == pytest.approx(exact, abs=0.01 * exact.max())
    assert np.trapezoid(density(values, points), points) == pytest.approx(1, abs=1e-3)
    with pytest.raises(ValueError, match="the same"):
        density(np.ones((3, 3)), points)


def test_shares_and_confidence_by_hand():
    logits = np.array([[0.0, 0.005, 3.0, -0.5], [1.0, 2.0, 3.0, -0.0099]], dtype=np.float32)
    assert near_zero_share(logits, 0.01).tolist() == [0.5, 0.25]
    exact = [np.exp(row.max()) / np.exp(row).sum() for row in logits.astype(np.float64)]
    assert confidence(logits) == pytest.approx(exact)
    found = summary_of(logits, 0.01)
    assert found["near_zero"] == 0.375 and found["max"] == 3.0
    assert abs(found["correlation"]) == pytest.approx(1.0)  # of two points
    assert summary_of(np.array([[1.0, 2.0], [1.0, 2.0]]), 0.01)["correlation"] is None


def test_the_first_images_of_each_run(runs, tmp_path):
    record = analyze(tmp_path, "logits", runs["ce"], runs["sosr"], "--first", "10", "--near-zero", "0.1")
    assert [row["images"] for row in record["values"]] == [10, 10]
    allowed = tmp_path / "allowed.txt"
    allowed.write_text("\n".join(map(str, range(9))))
    for name in ("logits", "corruptions"):
        assert "ce: --valid-labels" in refused(name, runs["ce"], "--valid-labels", allowed)
    assert "two runs are called x" in refused("logits", runs["ce"], runs["ce2"], "--titles", "x", "x")
