"""Runs of sosr-detect: what they write, exact resumption within and between epochs, signals, evaluation, dry run."""

import json
import os
import signal

import pytest
import torch
from safetensors.torch import load_file

from sosr_timm.checkpoints.format import checkpoint_folders
from sosr_timm.checkpoints.run_folder import RunFolder
from sosr_timm.distributed.stop_signals import StopSignals
from sosr_timm.errors import UserError
from sosr_timm.results import load_result
from tests.detection.harness import BACKBONE, SMALL, build_here, detect
from tests.training.harness import assert_same_run, copy_until, only_run


@pytest.fixture(scope="module")
def straight(voc, tmp_path_factory) -> RunFolder:
    output = tmp_path_factory.mktemp("straight")
    arguments = ("--model-ema", "--checkpoint-every", "1", "--checkpoint-hist", "100", "--output", output)
    assert detect(voc, *SMALL, *arguments) == 0
    return only_run(output)


def test_a_run_writes_its_result_curves_and_picture(straight):
    about = json.loads(straight.about.read_text())
    assert about["program"] == "sosr-detect" and about["backbone"]["weights"] == "random"
    assert about["num_classes"] == 20 and about["data"] == {"splits": ["2007_trainval", "2012_trainval"]}
    header, *rows = straight.summary.read_text().splitlines()
    assert header.startswith("epoch,train_loss,train_classification,train_box,eval_map_11point_raw") and len(rows) == 2
    result = load_result(straight.path / "result.json")
    assert result.model == "retinanet resnet10t" and result.loss == "focal(gamma=2, alpha=0.25)+smooth_l1"
    assert {"map_11point", "map_area", "map_11point_ema", "map_area_ema", "epoch"} == result.last.keys()
    assert 0 <= result.last["map_area"] <= 100
    for picture in ("detections.png", "curves.png"):
        assert (straight.path / picture).stat().st_size > 5000


@pytest.mark.parametrize("number", [1, 3])
def test_a_run_resumes_bit_for_bit_within_and_between_epochs(straight, voc, tmp_path, number):
    names = sorted(path.name for path in checkpoint_folders(straight.checkpoints))
    assert names == [
        f"epoch0000{e}-update000000{u}" for e, u in ((0, 1), (0, 2), (0, 3), (1, 0), (1, 1), (1, 2), (1, 3), (2, 0))
    ]
    copy = copy_until(straight, names[number], tmp_path)
    assert detect("--resume", copy.path) == 0
    assert_same_run(straight, copy)


def test_the_number_of_workers_changes_nothing(straight, voc, tmp_path):
    copy = copy_until(straight, "epoch00000-update0000002", tmp_path)
    assert detect("--resume", copy.path, "--workers", "2") == 0
    assert_same_run(straight, copy)


@pytest.mark.parametrize(
    "number", [signal.SIGTERM, *(pytest.param(n, marks=pytest.mark.slow) for n in (signal.SIGINT, signal.SIGUSR1))]
)
def test_a_signal_saves_within_an_epoch_and_the_run_resumes_to_the_same_end(
    straight, voc, tmp_path, monkeypatch, capsys, number
):
    after_update = StopSignals.after_update

    def signalled(self):
        os.kill(os.getpid(), number)
        return after_update(self)

    monkeypatch.setattr(StopSignals, "after_update", signalled)
    arguments = ("--model-ema", "--checkpoint-hist", "100", "--output", tmp_path, "--exit-code-on-signal", "7")
    assert detect(voc, *SMALL, *arguments) == 7
    assert f"stopped early by signal {int(number)}" in capsys.readouterr().out
    run = only_run(tmp_path)
    assert [path.name for path in checkpoint_folders(run.checkpoints)] == ["epoch00000-update0000001"]
    monkeypatch.setattr(StopSignals, "after_update", after_update)
    assert detect("--resume", "auto", voc, *SMALL, *arguments) == 0
    ends = [load_file(str(checkpoint_folders(one.checkpoints)[0] / "model.safetensors")) for one in (straight, run)]
    assert all(torch.equal(tensor, ends[1][name]) for name, tensor in ends[0].items())
    assert straight.summary.read_text() == run.summary.read_text()


def test_an_evaluation_gives_the_values_of_the_training(straight, voc, capsys):
    assert detect("--evaluate", straight.checkpoints / "last") == 0
    printed = json.loads(capsys.readouterr().out.splitlines()[-1])
    last = load_result(straight.path / "result.json").last
    assert printed["weights"] == "ema" and printed["checkpoint"] == "epoch00002-update0000000"
    assert printed["metrics"] == {name: last[f"{name}_ema"] for name in ("map_11point", "map_area")}
    record = json.loads((straight.path / "evaluation.json").read_text())
    assert record["images"] == 4 and set(record["classes"]) >= {"car", "cat", "cow"}
    assert record["classes"]["aeroplane"] == {"objects": 0, "map_11point": None, "map_area": None}


def test_a_dry_run_writes_nothing(voc, tmp_path, capsys):
    assert detect(voc, *SMALL, "--output", tmp_path / "runs", "--dry-run") == 0
    said = capsys.readouterr().out
    assert "RetinaNet" in said and "strides 8, 16, 32, 64, 128" in said and "dry run: nothing was written" in said
    assert not (tmp_path / "runs").exists()


def test_the_defaults_are_the_paper_s_schedule(voc, tmp_path):
    run = build_here(tmp_path, voc, *BACKBONE, "--pyramid-channels", "8", "--workers", "0")
    assert (run.options.data.min_side, run.options.data.max_side) == (608, 1024)
    assert run.epochs == 30 and type(run.optimizer.optimizer).__name__ == "Adam" and run.lr == 1e-5
    assert run.options.optimizer.batch_size == 2 and run.options.optimizer.clip_grad == 0.1
    rates = []
    run.progress.last = {"value": 0.0}
    for epoch, loss in enumerate([3.0, 2.0, 2.0, 2.0, 2.0, 2.0, 1.0]):
        run.schedule.start_epoch(epoch + 1, run.value_for_plateau({"loss": loss}, judged=False))
        rates.append(run.lr)
    # Three epochs without a lower mean loss pass; after the fourth the rate falls to a tenth.
    assert rates == pytest.approx([1e-5] * 5 + [1e-6] * 2)


def test_a_run_of_another_program_is_refused_with_one_line(straight, voc):
    from sosr_timm.detection.backbone import create_backbone
    from sosr_timm.options.detection import DetectorOptions
    from sosr_timm.setup.stored_run import find_run
    from tests.training.harness import train_here

    with pytest.raises(UserError, match=r"is a run of sosr-detect, not of train\.py"):
        find_run(str(straight.path), "best")
    with pytest.raises(UserError, match=r"is a run of sosr-detect, not of train\.py"):
        create_backbone(DetectorOptions(model=str(straight.path)))
    with pytest.raises(UserError, match=r"cannot resume .*: it is a run of sosr-detect, not of train\.py"):
        train_here("--resume", straight.path)


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (("--min-side", "70"), "--min-side 70 is above --max-side 64"),
        (("--batch-size", "16"), "--batch-size 16: the training set has 9 samples, fewer than one batch"),
        (("--val-split", "2007_val"), "unknown list '2007_val'"),
        (("--train-splits", "2007_train", "2012_trainval"), "unknown list '2007_train'"),
        (("--class-map", "nowhere.txt"), "class map nowhere.txt: no such file"),
        (("--coco-metrics",), "--coco-metrics is for --evaluate"),
        (("--augmentation", "mosaic"), "--augmentation is one of 'flip', 'ssd', 'none'"),
        (("--evaluate", "nowhere"), "--evaluate nowhere: neither a run folder nor a checkpoint"),
        (("--resume", "nowhere"), "nowhere: no such file or directory"),
        (("--anchor-scale", "0"), "--anchor-scale must be above 0"),
    ],
)
def test_bad_input_is_one_line_and_leaves_nothing(voc, tmp_path, arguments, message):
    with pytest.raises(UserError, match=message):
        detect(voc, *SMALL, "--output", tmp_path / "runs", *arguments)
    assert not (tmp_path / "runs").exists() or not list((tmp_path / "runs").iterdir())


def test_what_differs_from_the_run_is_named(straight, voc):
    with pytest.raises(UserError, match=r"cannot resume .*--min-side is 64 in the run and 32 in the command line"):
        detect("--resume", straight.path, "--min-side", "32")
    with pytest.raises(UserError, match=r"cannot evaluate .*--val-split is '2007_test' in the run"):
        detect("--evaluate", straight.path, "--val-split", "2007_trainval")
