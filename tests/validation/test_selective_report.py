"""Selective classification in the files and tables of validate.py."""

import csv
import json
import os
import subprocess
import sys

import numpy as np
import pytest

from sosr_timm.metrics.selective import selective_of
from tests.training.harness import ROOT, SMALL, only_run, train_here, validate


@pytest.fixture(scope="module")
def run(tmp_path_factory):
    output = tmp_path_factory.mktemp("runs")
    assert train_here(*SMALL, "--output", output) == 0
    return only_run(output)


def test_predictions_record_and_list_agree(run, capsys, tmp_path):
    file, table = tmp_path / "a.npz", tmp_path / "a.csv"
    arguments = ["--predictions", file, "--p-norm", "3", "--confidence", "p_norm", "--results-file", table]
    metrics = validate(capsys, run.path, *arguments)["weights"]["weights"]
    with np.load(file) as arrays:
        wrong = arrays["guesses"][:, 0] != arrays["target"]
        for name in ("max_softmax", "max_logit", "margin", "entropy", "p_norm"):
            expected = selective_of(arrays[f"score_{name}"], wrong)
            assert {key: metrics["selective"][name][key] for key in expected} == expected
        assert arrays["score_loss"].mean() == pytest.approx(metrics["loss"])
        assert arrays["p_norm"] == 3
    assert metrics["selective"]["p_norm"]["p"] == 3
    (row,) = csv.DictReader(table.open())
    assert row["confidence"] == "p_norm" and float(row["aurc"]) == metrics["selective"]["p_norm"]["aurc"]
    assert float(row["ece_classwise"]) == metrics["ece_classwise"]
    assert (run.path / "risk_coverage.png").is_file()


def test_a_list_shows_calibration_before_and_after_a_temperature(run, capsys, tmp_path):
    weights = tmp_path / "weights"
    weights.mkdir()
    best = (run.checkpoints / "best").resolve() / "model.safetensors"
    for name in "ab":
        (weights / f"{name}.safetensors").symlink_to(best)
    data = ["--dataset", "digits", "--num-samples", "40", "--workers", "0", "--img-size", "8", "--temperature", "0.5"]
    arguments = ["--model", "cifar_resnet20", "--checkpoint", weights, *data]
    rows = validate(capsys, *arguments)
    alone = validate(capsys, *arguments[:2], "--checkpoint", weights / "a.safetensors", *data)
    found = alone["weights"]["weights"]["temperature"]
    assert len(rows) == 2
    for row in rows:
        assert row["temperature"] == found["temperature"]
        for name in ("ece", "ece_adaptive", "ece_classwise"):
            assert (row[f"{name}_before"], row[f"{name}_after"]) == (found["before"][name], found["after"][name])


@pytest.mark.slow
def test_two_processes_change_no_bit(run, tmp_path, capsys):
    alone = validate(capsys, run.path)["weights"]["weights"]
    command = [sys.executable, "-m", "torch.distributed.run", "--standalone", "--nproc_per_node", "2", "validate.py"]
    environment = {**os.environ, "ACCELERATE_USE_CPU": "true", "OMP_NUM_THREADS": "1"}
    command += [str(run.path), "--json", "--output", str(tmp_path)]
    done = subprocess.run(command, cwd=ROOT, env=environment, capture_output=True, text=True, timeout=300)
    assert done.returncode == 0, done.stderr
    assert json.loads((tmp_path / "evaluation.json").read_text())["weights"]["weights"] == alone
