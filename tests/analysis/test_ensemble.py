"""Ensembles of checkpoints: by hand, and through the command."""

import shutil

import numpy as np
import pytest

from sosr_timm.analysis.ensemble import ensemble_metrics
from tests.analysis.harness import analyze, refused, rows_of, train_small
from tests.training.harness import validate


@pytest.fixture(scope="module")
def run(tmp_path_factory):
    epochs = ("--epochs", "3", "--keep-checkpoints", "1", "2", "3", "--checkpoint-hist", "0")
    return train_small(tmp_path_factory.mktemp("runs"), "run", *epochs)


def test_by_hand():
    """Alone each is wrong about an image; their mean is right about both."""
    first = np.array([[0.6, 0.3, 0.1], [0.6, 0.4, 0.0]])
    second = np.array([[0.3, 0.4, 0.3], [0.1, 0.9, 0.0]])
    labels = np.array([0, 1])
    assert ensemble_metrics([first], labels)["top1"] == ensemble_metrics([second], labels)["top1"] == 50
    both = ensemble_metrics([first, second], labels)
    assert both["top1"] == 100
    assert both["loss"] == pytest.approx(-(np.log(0.45) + np.log(0.65)) / 2)
    assert both["ece"] == pytest.approx((0.55 + 0.35) / 2)
    assert ensemble_metrics([np.array([[1.0, 0.0]])], np.array([1]))["loss"] == pytest.approx(708.4, abs=0.1)


def test_the_command(run, tmp_path, capsys):
    record = analyze(tmp_path, "ensemble", run, "--counts", 1, 2, 3)
    rows = rows_of(tmp_path, "ensemble")
    assert [(row["n"], row["epochs"]) for row in rows] == [("1", "3"), ("2", "2 3"), ("3", "1 2 3")]
    assert record["images"] == 40
    last = validate(capsys, run, "--which", "last")["weights"]["weights"]
    assert float(rows[0]["top1_error"]) == pytest.approx(100 - last["top1"])
    assert float(rows[0]["nll"]) == pytest.approx(last["loss"], rel=1e-5)


def test_what_cannot_be_averaged(run):
    refused("has 3 epochs, too few for 6 checkpoints: see --counts", "ensemble", run)
    refused("is a model; an ensemble is made of", "ensemble", "resnet18", "--dataset", "digits")


def test_a_missing_checkpoint_says_how_to_keep_it(runs, tmp_path):
    run = tmp_path / "run"
    shutil.copytree(runs["ce"], run, symlinks=True)
    shutil.rmtree(run / "checkpoints" / "epoch00001-update0000000")
    message = "has no checkpoint of epoch 1, which 2 of 2 epochs need: train with --keep-checkpoints 1 2, or"
    refused(message, "ensemble", run, "--counts", 2, 1)
