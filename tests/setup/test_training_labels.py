"""A run on a thinned-out, mislabelled training set keeps its labels, says so, and goes on only with the same ones."""

import json

import numpy as np
import pytest
from safetensors.numpy import save_file

from sosr_timm.checkpoints.run_folder import LABELS as NAME
from sosr_timm.data.sources.catalog import open_source
from sosr_timm.data.sources.long_tail_and_noise import modify_training_set
from sosr_timm.data.sources.source import spread
from sosr_timm.errors import UserError
from sosr_timm.results import load_result
from sosr_timm.setup.training_labels import read_training_labels
from tests.training.harness import SMALL, assert_same_run, only_run, train_here, validate

WORSE = ("--train-num-samples", "400", "--long-tail", "0.2", "--label-noise", "0.4")


def test_labels_are_stored_and_a_resumed_run_has_them(tmp_path):
    assert train_here(*SMALL, *WORSE, "--output", tmp_path / "straight") == 0
    straight = only_run(tmp_path / "straight")
    expected = modify_training_set(spread(open_source("digits", None, "train"), 400), 42, 0.2, 0.4)
    stored = read_training_labels(straight.path / NAME)
    assert np.array_equal(stored["indices"], expected.indices) and np.array_equal(stored["labels"], expected.labels)
    assert load_result(straight.path / "result.json").data == expected.info.origin
    assert json.loads(straight.about.read_text())["data"] == expected.info.origin

    assert train_here(*SMALL, *WORSE, "--output", tmp_path / "parts", "--stop-epoch", "1") == 0
    parts = only_run(tmp_path / "parts")
    kept = (parts.path / NAME).read_bytes()
    save_file({**stored, "labels": stored["labels"][::-1].copy()}, parts.path / NAME)
    with pytest.raises(UserError, match="has other labels than those drawn now"):
        train_here("--resume", parts.path)
    (parts.path / NAME).write_bytes(kept[:20])
    with pytest.raises(UserError, match=f"{NAME} cannot be read"):
        train_here("--resume", parts.path)
    (parts.path / NAME).write_bytes(kept)
    assert train_here("--resume", parts.path) == 0
    assert_same_run(straight, parts)


def test_an_evaluation_of_a_long_tailed_run_is_told_by_shots(tmp_path, capsys):
    whole = ("--epochs", "1", "--train-num-samples", "1438", "--batch-size", "64")
    assert train_here(*SMALL, *whole, "--long-tail", "0.1", "--output", tmp_path) == 0
    run = only_run(tmp_path)
    found = validate(capsys, run.path)["weights"]["weights"]
    sizes = json.loads(run.about.read_text())["data"]["class_sizes"]
    members = [
        sum(size > 100 for size in sizes),
        sum(20 <= size <= 100 for size in sizes),
        sum(size < 20 for size in sizes),
    ]
    groups = [found["shots"][name] for name in ("many", "medium", "few")]
    assert [group["classes"] for group in groups] == members and min(members) > 0
    assert sum(group["count"] for group in groups) == found["count"]
    right = sum(group["count"] * group["top1"] for group in groups)
    assert right / found["count"] == pytest.approx(found["top1"])
    result = load_result(run.path / "result.json")
    assert [result.last[f"top1_{name}"] for name in ("many", "medium", "few")] == [group["top1"] for group in groups]
    assert "many" not in run.summary.read_text()


def test_a_run_on_the_whole_set_has_no_such_file(tmp_path):
    assert train_here(*SMALL, "--epochs", "1", "--output", tmp_path) == 0
    run = only_run(tmp_path)
    assert not (run.path / NAME).exists() and load_result(run.path / "result.json").data == {}
