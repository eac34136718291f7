"""What timm's train.py does with a flag happens here too: a larger head, a rate of 0, an initial head."""

import csv
import json
import os
import stat

import pytest
import timm
import torch
from PIL import Image
from timm.scheduler import create_scheduler_v2

from sosr_timm.checkpoints.format import checkpoint_folders
from sosr_timm.checkpoints.run_folder import RunFolder
from sosr_timm.data.sources.source import SourceInfo, names_of_classes
from sosr_timm.errors import UserError
from sosr_timm.options.train import ModelOptions, OptimizerOptions, ScheduleOptions
from sosr_timm.runner.collect import curve_of
from sosr_timm.setup.metric_names import in_columns
from sosr_timm.setup.model import create_model, number_of_classes
from sosr_timm.setup.optimizer import learning_rate
from sosr_timm.tracking.metrics_log import MetricsLog
from tests.training.harness import SMALL, only_run, read_lines_of, train_here, validate


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


def test_checkpoints_spread_evenly_over_the_epochs_stay(tmp_path):
    arguments = ["--epochs", "6", "--keep-checkpoints", "2", "3", "--checkpoint-hist", "0"]
    assert train_here(*SMALL, *arguments, "--output", tmp_path) == 0
    run = only_run(tmp_path)
    names = {path.name for path in checkpoint_folders(run.checkpoints)}
    best = (run.checkpoints / "best").resolve().name
    assert names == {f"epoch{number:05d}-update0000000" for number in (2, 3, 4, 6)} | {best}


def test_what_a_flag_of_timm_no_longer_does_is_said_at_the_start(tmp_path, capsys):
    arguments = ["--local_rank", "0", "--amp-impl", "native", "--epoch-repeats", "1", "--epochs", "1"]
    assert train_here(*SMALL, *arguments, "--output", tmp_path) == 0
    lines = capsys.readouterr().out.splitlines()
    assert "--local-rank has no effect: the launcher tells each process its rank through the environment" in lines
    assert "--amp-impl has no effect: mixed precision is torch's own; Apex is not supported" in lines
    assert sum(line.startswith("--epoch-repeats 1.0: ") for line in lines) == 1
    validate(capsys, only_run(tmp_path).path, "--amp-impl", "native")


def test_an_empty_val_split_means_no_evaluation(tmp_path, capsys):
    """In timm's train.py too; the best checkpoint is then that of the smallest training loss."""
    assert train_here(*SMALL, "--val-split", "", "--epochs", "3", "--sched", "plateau", "--output", tmp_path) == 0
    assert "--val-split is empty: no evaluation" in capsys.readouterr().out
    run = only_run(tmp_path)
    rows = list(csv.DictReader(run.summary.open()))
    assert len(rows) == 3 and not any(name.startswith("eval") for name in rows[0])
    losses = [float(row["train_loss"]) for row in rows]
    best = losses.index(min(losses))
    result = json.loads((run.path / "result.json").read_text())
    assert result["best"] == {"train_loss": losses[best], "epoch": best}
    assert (run.checkpoints / "best").resolve().name == f"epoch{best + 1:05d}-update0000000"
    assert validate(capsys, run.path)["weights"]["weights"]["count"] == 40, "validate.py takes its own split"
    assert train_here(*SMALL, "--val-split", "", "--dry-run", "--output", tmp_path) == 0
    assert "0 for evaluation" in capsys.readouterr().out


def test_summary_csv_has_the_emas_metrics_under_timms_names(tmp_path):
    arguments = ["--model-ema", "--model-ema-decay", "0.5", "--epochs", "2", "--output", tmp_path]
    assert train_here(*SMALL, *arguments) == 0
    run = only_run(tmp_path)
    lines = [line for line in read_lines_of(run) if line["kind"] == "epoch"]
    for row, line in zip(csv.DictReader(run.summary.open()), lines, strict=True):
        for name in ("top1", "top5", "loss", "ece", "brier"):
            assert float(row[f"eval_{name}"]) == line[f"eval_{name}_ema"], "timm's eval_top1 is the EMA's"
            assert float(row[f"eval_{name}_raw"]) == line[f"eval_{name}"]
    assert lines[0]["eval_loss"] != lines[0]["eval_loss_ema"]


def test_a_summary_of_an_older_version_goes_on_under_todays_names(tmp_path):
    folder = RunFolder(tmp_path)
    old = "epoch,train_loss,eval_top1,eval_loss,eval_top1_ema,eval_loss_ema,lr\n0,2.5,10.0,2.4,11.0,2.3,0.1\n"
    folder.summary.write_text(old)
    log = MetricsLog(folder, ("epoch", "train_loss", "eval_top1_raw", "eval_loss_raw", "eval_top1", "eval_loss", "lr"))
    log.cut({"summary.csv": len(old)})
    log.row({"epoch": 1, "train_loss": 2.0, **in_columns({"top1": 20.0, "top1_ema": 21.0}), "lr": 0.2})
    first, second = csv.DictReader(folder.summary.open())
    assert (first["eval_top1_raw"], first["eval_top1"], first["eval_loss"]) == ("10.0", "11.0", "2.3")
    assert (second["eval_top1_raw"], second["eval_top1"]) == ("20.0", "21.0")
    assert folder.summary.stat().st_size > len(old) and curve_of(folder.summary) == [10.0, 20.0]


def test_the_rate_of_summary_csv_is_timms(tmp_path):
    """timm reads the rates after the epoch's last call of step_update, which sets that of the update to come."""
    assert train_here(*SMALL, "--sched-on-updates", "--epochs", "3", "--output", tmp_path) == 0
    model = torch.nn.Linear(1, 1)
    optimizer = torch.optim.SGD(model.parameters(), lr=0.05)
    scheduler, _ = create_scheduler_v2(
        optimizer, num_epochs=3, warmup_epochs=0, warmup_lr=1e-5, updates_per_epoch=7, step_on_epochs=False
    )
    expected = []
    for update in range(1, 22):
        scheduler.step_update(update)
        if update % 7 == 0:
            expected.append(optimizer.param_groups[0]["lr"])
    assert [float(row["lr"]) for row in csv.DictReader(only_run(tmp_path).summary.open())] == expected
