"""--val-fraction: a run, its resumption and its evaluation agree on what was held out."""

import json

import pytest

from sosr_timm.errors import UserError
from sosr_timm.tracking.console import logger
from tests.data.images import class_folders, write_picture
from tests.training.harness import TINY, only_run, train_here, validate

SHORT = ("--img-size", "8", "--epochs", "2", "--warmup-epochs", "0", "--batch-size", "4", "--workers", "0")


@pytest.fixture
def images(tmp_path):
    return class_folders(tmp_path / "images", classes=("cat", "dog"), splits=("",), each=20)


def train(images, output, *more):
    return train_here(images, *TINY, *SHORT, "--val-fraction", "0.25", "--output", output, *more)


def test_a_run_states_and_stores_what_it_holds_out(images, tmp_path, capsys):
    assert train(images, tmp_path / "runs") == 0
    said = capsys.readouterr().out
    run = only_run(tmp_path / "runs")
    data = json.loads(run.about.read_text())["data"]
    count = data["held_out"]
    assert f"{count} images of the training split, by a hash of their names, for evaluation" in said
    assert f"{40 - count} for training, {count} for evaluation" in said
    assert data["val_fraction"] == 0.25 and len(data["held_out_sha256"]) == 64
    stored = json.loads((run.path / "result.json").read_text())
    assert stored["data"]["held_out"] == count
    record = validate(capsys, run.path, "--which", "last")["weights"]["weights"]
    assert record["count"] == count and record["loss"] == stored["last"]["loss"]
    assert validate(capsys, run.path, "--split", "train")["weights"]["weights"]["count"] == 40 - count
    elsewhere = ("--data-dir", str(images), "--val-fraction", "0.25", "--which", "last")
    assert validate(capsys, run.path, *elsewhere)["weights"]["weights"]["loss"] == stored["last"]["loss"]


def test_a_run_resumes_on_the_same_part_and_refuses_another(images, tmp_path, capsys, monkeypatch):
    assert train(images, tmp_path / "straight") == 0
    assert train(images, tmp_path / "stopped", "--stop-epoch", "1") == 0
    run = only_run(tmp_path / "stopped")
    assert train_here("--resume", run.path) == 0
    found, expected = (
        json.loads((only_run(tmp_path / name).path / "result.json").read_text())["last"]
        for name in ("stopped", "straight")
    )
    assert found == expected
    assert train(images, tmp_path / "changed", "--stop-epoch", "1") == 0
    for number in range(20, 60):
        write_picture(images / "cat" / f"{number}.png", number)
    with pytest.raises(UserError, match=r"cannot resume .*: --val-fraction 0.25 holds out \d+ images, other ones than"):
        train_here("--resume", only_run(tmp_path / "changed").path)  # a finished run would be left alone
    said = []
    monkeypatch.setattr(logger, "warning", lambda text, *values: said.append(text % values))
    validate(capsys, run.path)
    assert len(said) == 1 and "images were added, removed or renamed" in said[0]


def test_contradictions_are_one_line(images, tmp_path):
    with pytest.raises(UserError, match=r"--val-fraction 0.25 and --val-split 'val': give one of them"):
        train(images, tmp_path / "runs", "--val-split", "val")
    with pytest.raises(UserError, match=r"Hold out a part with --val-fraction 0\.1, or sort the images into"):
        train_here(images, *TINY, *SHORT, "--output", tmp_path / "runs")
