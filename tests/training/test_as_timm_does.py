"""What timm's train.py does with a flag happens here too: a larger head, a rate of 0, an initial head."""

import csv
import json
import os
import stat

import pytest
import timm
import torch
from PIL import Image

from sosr_timm.checkpoints.format import checkpoint_folders
from sosr_timm.data.sources.source import SourceInfo, names_of_classes
from sosr_timm.errors import UserError
from sosr_timm.options.train import ModelOptions, OptimizerOptions, ScheduleOptions
from sosr_timm.setup.model import create_model, number_of_classes
from sosr_timm.setup.optimizer import learning_rate
from tests.training.harness import SMALL, only_run, train_here, validate


def test_a_head_may_have_more_classes_than_the_data_set(tmp_path, capsys):
    assert train_here(*SMALL, "--num-classes", "13", "--loss", "ols+sosr", "--epochs", "1", "--output", tmp_path) == 0
    assert "--num-classes 13: the data set has 10 classes, no image has one of the other 3" in capsys.readouterr().out
    run = only_run(tmp_path)
    about = json.loads(run.about.read_text())
    assert (about["num_classes"], about["data_classes"]) == (13, 10)
    record = validate(capsys, run.path, "--per-class")
    stored = json.loads((run.path / "result.json").read_text())["best"]
    assert record["weights"]["weights"]["top1"] == stored["top1"]
    rows = list(csv.reader((run.path / "confusion.csv").open()))
    assert len(rows) == 14 and rows[0][-3:] == ["10", "11", "12"]


def test_fewer_classes_than_the_data_set_or_other_vectors_are_refused():
    with pytest.raises(UserError, match="--num-classes 7: the data set has 10 classes"):
        number_of_classes(ModelOptions(num_classes=7), SourceInfo(num_classes=10))
    with pytest.raises(UserError, match="--num-classes 12: the data set has 10 classes"):
        number_of_classes(ModelOptions(num_classes=12), SourceInfo(num_classes=10, multi_hot=True))
    assert number_of_classes(ModelOptions(num_classes=12), SourceInfo(num_classes=10)) == 12


def test_another_data_set_with_fewer_classes_must_be_meant(tmp_path, capsys):
    assert train_here(*SMALL, "--num-classes", "13", "--epochs", "1", "--output", tmp_path / "runs") == 0
    for label in ("a", "b"):
        folder = tmp_path / "images" / "validation" / label
        folder.mkdir(parents=True)
        Image.new("L", (8, 8), 90).save(folder / "1.png")
    arguments = [only_run(tmp_path / "runs").path, "--data-dir", tmp_path / "images"]
    with pytest.raises(UserError, match="13 classes, the data set 2"):
        validate(capsys, *arguments)
    assert validate(capsys, *arguments, "--num-classes", "13")["weights"]["weights"]["count"] == 2


def test_classes_beyond_the_known_names_are_numbers():
    assert names_of_classes(("cat", "dog"), 4) == ("cat", "dog", "2", "3")
    assert names_of_classes(("cat", "dog"), 2) == ("cat", "dog")
    assert names_of_classes(None, 4) is None


def test_a_rate_of_0_falls_back_to_the_base_rate():
    """timm's train.py: `if not args.lr`."""
    optimizer = OptimizerOptions(batch_size=64)
    assert learning_rate(optimizer, ScheduleOptions(lr=0.0, lr_base=0.2), 2) == 0.2 * 128 / 256
    assert learning_rate(optimizer, ScheduleOptions(lr=None, lr_base=0.2), 2) == 0.2 * 128 / 256
    assert learning_rate(optimizer, ScheduleOptions(lr=0.3), 2) == 0.3


def test_the_initial_heads_bias_is_scaled_with_its_weights():
    torch.manual_seed(3)
    expected = timm.create_model("resnet10t", num_classes=5).get_classifier()
    torch.manual_seed(3)
    options = ModelOptions(model="resnet10t", num_classes=5, head_init_scale=0.25)
    found = create_model(options, SourceInfo(num_classes=5)).get_classifier()
    assert torch.equal(found.weight, expected.weight * 0.25) and torch.equal(found.bias, expected.bias * 0.25)
    assert found.bias.abs().max() > 0


def test_weights_can_be_read_by_whoever_may_read_the_other_files(tmp_path):
    old = os.umask(0o022)
    try:
        arguments = ["--label-noise", "0.2", "--model-ema", "--epochs", "1"]
        assert train_here(*SMALL, *arguments, "--output", tmp_path) == 0
    finally:
        os.umask(old)
    files = [path for path in only_run(tmp_path).path.rglob("*") if path.is_file() and path.name != ".lock"]
    assert {path.name for path in files} >= {"model.safetensors", "ema.safetensors", "rank0.safetensors"}
    assert {path.name: stat.S_IMODE(path.stat().st_mode) for path in files} == {path.name: 0o644 for path in files}


def test_checkpoints_within_epochs_do_not_push_out_those_of_epochs(tmp_path):
    arguments = ["--epochs", "4", "--checkpoint-every", "2", "--checkpoint-hist", "1"]
    assert train_here(*SMALL, *arguments, "--output", tmp_path) == 0
    run = only_run(tmp_path)
    names = {path.name for path in checkpoint_folders(run.checkpoints)}
    best = (run.checkpoints / "best").resolve().name
    ends = {f"epoch{number:05d}-update0000000" for number in (3, 4)}
    assert names == {*ends, best, "epoch00003-update0000006"}


def test_what_a_flag_of_timm_no_longer_does_is_said_at_the_start(tmp_path, capsys):
    arguments = ["--local_rank", "0", "--amp-impl", "native", "--epoch-repeats", "1", "--epochs", "1"]
    assert train_here(*SMALL, *arguments, "--output", tmp_path) == 0
    lines = capsys.readouterr().out.splitlines()
    assert "--local-rank has no effect: the launcher tells each process its rank through the environment" in lines
    assert "--amp-impl has no effect: mixed precision is torch's own; Apex is not supported" in lines
    assert sum(line.startswith("--epoch-repeats 1.0: ") for line in lines) == 1
    validate(capsys, only_run(tmp_path).path, "--amp-impl", "native")
