"""--task multilabel: vectors of labels from the data to the best checkpoint, by timm's task and figures."""

import csv
import json
import os
import subprocess
import sys

import pytest
import torch
from timm.task import MultiLabelClassificationEvaluator, MultiLabelClassificationTask

from sosr_timm.checkpoints.format import checkpoint_folders
from sosr_timm.errors import UserError
from tests.training.harness import (
    ROOT,
    SMALL,
    TINY,
    assert_same_run,
    build_here,
    copy_until,
    free_port,
    only_run,
    train_here,
    validate,
)
from tests.training.many_labels import registered

MANY = [*SMALL, "--dataset", "digit_attributes", "--task", "multilabel"]


@pytest.fixture(autouse=True)
def digit_attributes():
    with registered():
        yield


@pytest.mark.parametrize("loader", ["workers", "device"])
@pytest.mark.parametrize("mixing", [[], ["--cutmix", "1.0", "--smoothing", "0.1"]])
def test_loss_and_gradient_are_those_of_timms_task(loader, mixing, tmp_path):
    run = build_here(tmp_path, *MANY, *mixing, "--loader", loader)
    arguments = {"smoothing": 0.0, "soft_targets": bool(mixing)}
    theirs = MultiLabelClassificationTask(run.model, criterion_kwargs=arguments, verbose=False)
    batch = next(run.batches())
    assert batch.target.shape == (8, 4) and batch.target.dtype == torch.float32
    run.task.train()
    found, expected = (task(batch.images, batch.target)["loss"] for task in (run.task, theirs))
    torch.testing.assert_close(found, expected, rtol=1e-6, atol=0)
    if not mixing:
        assert set(batch.target.unique().tolist()) == {0.0, 1.0}


def test_the_figures_of_a_run_are_timms_and_the_best_checkpoint_is_by_map(tmp_path):
    arguments = [*MANY, "--epochs", "3", "--model-ema", "--model-ema-decay", "0.5", "--multilabel-threshold", "0.4"]
    assert train_here(*arguments, "--checkpoint-hist", "9", "--output", tmp_path) == 0
    folder = only_run(tmp_path)
    rows = list(csv.DictReader(folder.summary.open()))
    names = ("map", "micro_f1", "macro_f1", "sample_f1", "loss")
    assert [f"eval_{name}{suffix}" in rows[0] for suffix in ("_raw", "") for name in names] == [True] * 10
    assert not any("top1" in name for name in rows[0])
    values = [float(row["eval_map"]) for row in rows]
    best = json.loads((folder.path / "result.json").read_text())["best"]
    assert best["epoch"] == values.index(max(values)) and best["map_ema"] == max(values)
    assert (folder.checkpoints / "best").resolve().name == f"epoch{best['epoch'] + 1:05d}-update0000000"

    run = build_here(tmp_path / "again", *arguments)
    from sosr_timm.training.checkpointing import restore

    restore(run, checkpoint_folders(folder.checkpoints)[0])
    evaluator = MultiLabelClassificationEvaluator(threshold=0.4)
    run.model.eval()
    with torch.no_grad():
        for batch in run.evaluation_loader:
            evaluator.update(run.model(batch.images), batch.target)
    for name, value in evaluator.compute().items():
        assert float(rows[-1][f"eval_{name}_raw"]) == pytest.approx(float(value), rel=1e-6), name


def test_validate_gives_the_figures_of_the_last_evaluation(tmp_path, capsys):
    arguments = [*MANY, *TINY, "--model-ema", "--model-ema-decay", "0.5", "--multilabel-threshold", "0.4"]
    assert train_here(*arguments, "--epochs", "1", "--output", tmp_path) == 0
    folder = only_run(tmp_path)
    last = json.loads((folder.path / "result.json").read_text())["last"]
    names = ("map", "micro_f1", "macro_f1", "sample_f1", "loss")
    record = validate(capsys, folder.path, "--which", "last", "--results-file", tmp_path / "a.csv")
    for title, suffix in {"weights": "", "ema": "_ema"}.items():
        assert record["weights"][title] == {name: last[name + suffix] for name in names} | {"count": 40}
    assert (record["task"], record["multilabel_threshold"]) == ("multilabel", 0.4)
    assert json.loads((folder.path / "evaluation.json").read_text()) == record
    assert not (folder.path / "reliability.png").exists()
    rows = {row["weights"]: row for row in csv.DictReader((tmp_path / "a.csv").open())}
    expected = [round(last[name], 4) if name != "loss" else last[name] for name in names]
    assert [float(rows["weights"][name]) for name in names] == expected
    assert list(rows["weights"])[1:3] == ["map", "micro_f1"] and "top1" not in rows["weights"]

    given = [folder.path, "--which", "last", "--use-ema", "--output", tmp_path / "other"]
    other = validate(capsys, *given, "--multilabel-threshold", "0.9")["weights"]["ema"]
    assert other["map"] == last["map_ema"] and other["micro_f1"] != last["micro_f1_ema"]
    weights = folder.checkpoints / "last" / "model.safetensors"
    by_name = [*TINY, "--checkpoint", weights, "--dataset", "digit_attributes"]
    found = validate(capsys, *by_name, "--num-samples", "40", "--batch-size", "16", "--multilabel-threshold", "0.4")
    assert found["weights"]["weights"] == record["weights"]["weights"]
    for flags, said in {
        ("--temperature", "0.5"): "--temperature is for one class per image",
        ("--per-class",): "--per-class is for one class per image",
        ("--metrics-avg", "macro"): "--metrics-avg is for one class per image",
        ("--predictions", "p.csv"): "--predictions is for one class per image",
        ("--compare", folder.path, folder.path): "--compare is for one class per image",
        ("--multilabel-threshold", "0"): "--multilabel-threshold must be above 0 and below 1, not 0.0",
        ("--dataset", "digits"): "trained on vectors of labels, and this data set has one class per image",
    }.items():
        with pytest.raises(UserError, match=said):
            validate(capsys, *(() if "--compare" in flags else (folder.path,)), *flags)


def test_two_processes_find_the_figures_of_one(tmp_path, capsys):
    assert train_here(*MANY, *TINY, "--epochs", "1", "--output", tmp_path) == 0
    folder = only_run(tmp_path)
    script = tmp_path / "evaluate.py"
    script.write_text(
        "import runpy\nfrom tests.training.many_labels import registered\n"
        "with registered():\n    runpy.run_path('validate.py', run_name='__main__')\n"
    )
    command = [sys.executable, "-m", "torch.distributed.run", "--nproc_per_node", "2", "--master_port", free_port()]
    ended = subprocess.run(
        [*map(str, command), str(script), str(folder.path), "--which", "last", "--workers", "1"],
        cwd=ROOT,
        env={**os.environ, "ACCELERATE_USE_CPU": "true", "OMP_NUM_THREADS": "1", "PYTHONPATH": str(ROOT)},
        capture_output=True,
        text=True,
        check=False,
    )
    assert ended.returncode == 0, ended.stderr
    two = json.loads(ended.stdout.splitlines()[-1])
    assert two["weights"] == validate(capsys, folder.path, "--which", "last")["weights"]


def test_a_resumed_run_equals_the_straight_one(tmp_path):
    arguments = [*MANY, "--loss", "asl", "--mixup", "0.5", "--checkpoint-every", "2", "--checkpoint-hist", "100"]
    assert train_here(*arguments, "--output", tmp_path / "straight") == 0
    straight = only_run(tmp_path / "straight")
    name = sorted(path.name for path in checkpoint_folders(straight.checkpoints))[1]
    copy = copy_until(straight, name, tmp_path / "copy")
    assert train_here(*arguments, "--output", tmp_path / "copy", "--resume", "auto") == 0
    assert_same_run(straight, copy)


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ([*SMALL, "--task", "multilabel"], "the data set has one class per image"),
        ([*SMALL, "--dataset", "digit_attributes"], "add --task multilabel"),
        ([*MANY, "--eval-metric", "ece"], "--eval-metric ece: --task multilabel has map, micro_f1"),
        ([*SMALL, "--eval-metric", "map"], "--eval-metric map: --task classification has top1"),
        ([*MANY, "--multilabel-threshold", "1"], "--multilabel-threshold must be above 0 and below 1, not 1.0"),
        ([*MANY, "--label-noise", "0.1"], "are for one class per image"),
    ],
)
def test_what_does_not_fit_is_one_line(arguments, message, tmp_path):
    with pytest.raises(UserError, match=message):
        build_here(tmp_path, *arguments)
