"""Runs on tar shards: the bits of a run on class directories, and exact resuming in every order."""

import json

import pytest
import torch
import yaml

from sosr_timm.checkpoints.format import checkpoint_folders
from sosr_timm.data.prepare.index_shards import index_shards
from sosr_timm.errors import UserError
from tests.data.images import class_folders
from tests.data.shards import folders_as_tar, samples, write_shards, write_tar
from tests.training.harness import TINY, only_run, tensors_of, train_here, validate

SHORT = ("--img-size", "8", "--epochs", "2", "--warmup-epochs", "0", "--batch-size", "4", "--workers", "0")


@pytest.fixture
def shards(tmp_path):
    write_shards(tmp_path / "shards", shards=6, each=4, stem="train")
    write_tar(tmp_path / "shards" / "val-0.tar", samples(8, 100))
    index_shards([str(tmp_path / "shards")])
    return tmp_path / "shards"


def train(output, *more):
    return train_here(*TINY, *SHORT, "--output", output, *more)


def last(output):
    return tensors_of(checkpoint_folders(only_run(output).checkpoints)[-1])


def same(first, second):
    assert first.keys() == second.keys() and all(torch.equal(first[name], second[name]) for name in first)


def test_a_run_on_shards_has_the_bits_of_one_on_class_directories(tmp_path, capsys):
    folder = class_folders(tmp_path / "files", each=8)
    for split in ("train", "val"):
        folders_as_tar(folder / split, tmp_path / "shards" / split / "0.tar")
    index_shards([str(tmp_path / "shards")])
    assert train(tmp_path / "a", "--data-dir", folder) == 0
    assert train(tmp_path / "b", "--dataset", "wds/", "--data-dir", tmp_path / "shards") == 0
    same(last(tmp_path / "a"), last(tmp_path / "b"))
    records = [validate(capsys, only_run(tmp_path / name).path)["weights"]["weights"] for name in "ab"]
    assert records[0]["loss"] == records[1]["loss"] and records[0]["count"] == records[1]["count"] == 16


@pytest.mark.parametrize("order", ["shards", "bijection"])
def test_a_run_in_any_order_resumes_to_the_same_bits(shards, tmp_path, capsys, order):
    given = ("--dataset", "wds/", "--data-dir", shards, "--order", order)
    given += ("--shard-window", "2") if order == "shards" else ()
    assert train(tmp_path / "whole", *given) == 0
    said = capsys.readouterr().out
    assert {"shards": "6 shards in random order, samples of 2", "bijection": "a bijection, computed"}[order] in said
    assert train(tmp_path / "stopped", *given, "--stop-epoch", "1") == 0
    run = only_run(tmp_path / "stopped")
    assert json.loads(run.about.read_text())["order"] == order
    with pytest.raises(UserError, match=f"--order is '{order}' in the run and 'permutation' in the command line"):
        train_here("--resume", run.path, "--order", "permutation")
    assert train_here("--resume", run.path) == 0
    same(last(tmp_path / "whole"), last(tmp_path / "stopped"))
    assert train(tmp_path / "other", *given[:4]) == 0
    assert any(
        not torch.equal(tensor, last(tmp_path / "other")[name]) for name, tensor in last(tmp_path / "whole").items()
    )


def test_a_run_that_began_before_there_was_a_choice_keeps_its_permutation(shards, tmp_path, monkeypatch):
    given = ("--dataset", "wds/", "--data-dir", shards)
    assert train(tmp_path / "whole", *given) == 0
    assert train(tmp_path / "stopped", *given, "--stop-epoch", "1") == 0
    run = only_run(tmp_path / "stopped")
    stored = yaml.safe_load(run.options.read_text())
    del stored["order"], stored["shard_window"]
    run.options.write_text(yaml.safe_dump(stored))
    # What "auto" means for so few samples today is not what counts.
    monkeypatch.setattr("sosr_timm.data.order.shuffle.LARGEST_PERMUTATION", 2)
    assert train_here("--resume", run.path) == 0
    same(last(tmp_path / "whole"), last(tmp_path / "stopped"))


def test_orders_that_make_no_sense_are_one_line(shards, tmp_path):
    folder = class_folders(tmp_path / "files", each=8)
    with pytest.raises(UserError, match="--order shards: the training images are not stored in shards"):
        train(tmp_path / "runs", "--data-dir", folder, "--order", "shards")
    with pytest.raises(UserError, match="--shard-window 3 has no effect without --order shards"):
        train(tmp_path / "runs", "--dataset", "wds/", "--data-dir", shards, "--shard-window", "3")


def test_a_shard_that_changed_stops_a_run_from_resuming(shards, tmp_path):
    assert train(tmp_path / "runs", "--dataset", "wds/", "--data-dir", shards, "--stop-epoch", "1") == 0
    write_tar(shards / "train-003.tar", samples(5, 50))
    with pytest.raises(UserError, match=r"shard .*train-003.tar changed since it was indexed"):
        train_here("--resume", only_run(tmp_path / "runs").path)
