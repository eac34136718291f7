"""A run of an earlier version resumes and is evaluated: tests/fixtures/run_0_1_0, stopped after two of three epochs.

It was made on digits with `--loss ols+sosr --seed 1 --epochs 3 --stop-epoch 2`, before the packages of `engine` moved.
"""

import csv
import json
import shutil
from pathlib import Path

import pytest

from tests.training.harness import train_here, validate

FIXTURE = Path(__file__).parent / "fixtures" / "run_0_1_0"
# What the version that made the run reached: top-1 and mean loss after the second epoch, and after the third one.
TOP1_THEN, LOSS_THEN = 72.70194986072423, 1.274952091845133
TOP1_AT_THE_END, LOSS_AT_THE_END = 81.89415041782729, 1.0843
# Another processor rounds otherwise: one of the 359 images may change sides in evaluation, a few after an epoch.
ONE_IMAGE = 100 / 359


@pytest.fixture
def old_run(tmp_path):
    folder = tmp_path / "stopped"
    shutil.copytree(FIXTURE, folder, symlinks=True)
    return folder


def test_a_checkpoint_of_an_earlier_version_is_evaluated(old_run, capsys):
    found = validate(capsys, old_run / "checkpoints" / "last")
    metrics = found["weights"]["weights"]
    assert metrics["top1"] == pytest.approx(TOP1_THEN, abs=1.01 * ONE_IMAGE)
    assert metrics["loss"] == pytest.approx(LOSS_THEN, abs=1e-3)


def test_a_run_of_an_earlier_version_is_resumed(old_run):
    assert train_here("--resume", old_run) == 0
    rows = list(csv.DictReader((old_run / "summary.csv").read_text().splitlines()))
    before = list(csv.DictReader((FIXTURE / "summary.csv").read_text().splitlines()))
    assert len(rows) == 3
    for old, new in zip(before, rows[:2], strict=True):
        assert all(new[name] == value for name, value in old.items() if name in new)
    result = json.loads((old_run / "result.json").read_text())
    assert result["loss"] == "ols(alpha=0.5, init='uniform')+sosr(threshold=0.99, beta=0.5)"
    assert result["last"]["top1"] == pytest.approx(TOP1_AT_THE_END, abs=5 * ONE_IMAGE)
    assert result["last"]["loss"] == pytest.approx(LOSS_AT_THE_END, abs=0.01)
