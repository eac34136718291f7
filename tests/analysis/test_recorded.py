"""overconfidence and gradients: the recorded values of runs as curves, with the deviation over seeds."""

import csv

import pytest

from tests.analysis.harness import analyze
from tests.analysis.test_main import refused


def recorded(run) -> list[dict[str, str]]:
    with open(run / "confidence.csv", newline="") as file:
        return list(csv.DictReader(file))


def test_curves_are_the_mean_and_the_deviation_over_seeds(runs, tmp_path):
    for prefix, arguments in (("", ()), ("clean_", ("--clean",))):
        record = analyze(tmp_path, "overconfidence", runs["ce"], runs["ce2"], "--threshold", "0.5", *arguments)
        one, two = recorded(runs["ce"]), recorded(runs["ce2"])
        assert [row["epoch"] for row in record["curves"]] == [0, 1]
        for row, first, second in zip(record["curves"], one, two, strict=True):
            counts = [int(table[f"{prefix}above_0.5"]) for table in (first, second)]
            assert row["count"] == sum(counts) / 2
            assert row["count_std"] == pytest.approx(abs(counts[0] - counts[1]) / 2**0.5)
            assert row["share"] == pytest.approx(sum(counts) / 2 / 56)
    norms = analyze(tmp_path, "gradients", runs["ce"], runs["ce2"])["curves"]
    for row, first, second in zip(norms, one, two, strict=True):
        values = [float(table["gradient_norm"]) for table in (first, second)]
        assert row["gradient_norm"] == pytest.approx(sum(values) / 2)
        assert row["gradient_norm_std"] == pytest.approx(abs(values[0] - values[1]) / 2**0.5)


def test_one_run_shows_every_threshold_and_several_the_highest(runs, tmp_path):
    record = analyze(tmp_path, "overconfidence", runs["ce"])
    assert {row["p"] for row in record["curves"]} == {0.5, 0.7, 0.9, 0.95, 0.99}
    assert all(row["count_std"] is None for row in record["curves"])
    record = analyze(tmp_path, "overconfidence", runs["ce"], runs["sosr"])
    assert {row["p"] for row in record["curves"]} == {0.99}


def test_a_threshold_that_was_not_recorded_is_refused(runs):
    assert "--threshold 0.8: recorded are 0.5, 0.7" in refused("overconfidence", runs["ce"], "--threshold", "0.8")
