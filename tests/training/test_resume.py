"""A run that was stopped anywhere and resumed ends as the run that was never stopped: bit for bit."""

import pytest
import torch
import yaml

from sosr_timm.checkpoints import format
from sosr_timm.checkpoints.format import checkpoint_folders
from sosr_timm.errors import UserError
from tests.training.harness import (
    SMALL,
    TINY,
    assert_same_run,
    copy_until,
    journal_of,
    only_run,
    tensors_of,
    train_here,
)

CASES = {
    "ce": ["--loss", "ce", "--loader", "workers"],
    "sosr": ["--loss", "sosr", "--reprob", "0.5", "--drop", "0.2"],
    "ols+sosr": ["--loss", "ols+sosr", "--grad-accum-steps", "2", "--model-ema", "--model-ema-decay", "0.9"],
    "elem by workers": ["--loss", "ols+sosr", "--mixup", "1.0", "--mixup-mode", "elem", "--loader", "workers"],
    "maxsup": ["--loss", "maxsup", "--opt", "adamw", "--lr", "0.002", "--aa", "rand-m5-n1", "--sched-on-updates"],
    "fused optimizer": [
        "--loss",
        "sosr",
        "--opt",
        "adamw",
        "--lr",
        "0.002",
        "--opt-kwargs",
        "fused=True",
        "--epochs",
        "1",
    ],
    "sosr_mixed": ["--loss", "sosr", "--mixup", "0.5", "--cutmix", "1.0", "--mixup-off-epoch", "1"],
    "repeats": [
        *("--loss", "ols", "--aug-repeats", "2.5", "--epoch-repeats", "1.5", "--reprob", "0.5"),
        *("--train-num-samples", "30"),
    ],
    "splits": [
        *("--jsd-loss", "--aug-splits", "2", "--split-bn", "--resplit", "--aa", "augmix-m3-w1", "--reprob", "0.5"),
        *("--input-img-mode", "RGB", "--in-chans", "3", "--train-steps-per-epoch", "6"),
    ],
    "sizes": [
        *("--train-img-sizes", "8", "12", "16", "--train-batch-sizes", "12", "8", "4", "--grad-accum-steps", "2"),
        *("--train-size-schedule", "progressive", "--variable-batch-loss-scale", "linear", "--cutmix", "1.0"),
    ],
    "half precision": ["--loss", "sosr", "--amp", "--amp-dtype", "bfloat16", "--channels-last"],
    "all_terms": [
        "--loss",
        "ols+sosr+cp",
        "--cutmix",
        "1.0",
        "--mixup-mode",
        "elem",
        "--clip-grad",
        "1.0",
        "--loader",
        "workers",
    ],
}


@pytest.mark.parametrize("case", CASES)
def test_a_resumed_run_equals_the_straight_one(case, tmp_path):
    arguments = [*SMALL, *CASES[case], "--checkpoint-every", "1", "--checkpoint-hist", "100"]
    assert train_here(*arguments, "--output", tmp_path / "straight") == 0
    straight = only_run(tmp_path / "straight")
    names = sorted(path.name for path in checkpoint_folders(straight.checkpoints))
    assert len(names) > 5
    for name in (names[2], names[-3]):
        copy = copy_until(straight, name, tmp_path / name)
        assert train_here(*arguments, "--output", tmp_path / name, "--resume", "auto") == 0
        assert_same_run(straight, copy)


def test_the_number_of_workers_changes_nothing(tmp_path):
    arguments = [*SMALL, "--loss", "ols+sosr", "--cutmix", "1.0", "--reprob", "0.5", "--drop", "0.2", "--vflip", "0.5"]
    arguments += ["--loader", "workers"]
    for workers in (0, 3):
        assert train_here(*arguments, "--workers", workers, "--output", tmp_path / str(workers)) == 0
    assert_same_run(only_run(tmp_path / "0"), only_run(tmp_path / "3"))
    names = [path.name for path in checkpoint_folders(only_run(tmp_path / "0").checkpoints)]
    copy = copy_until(only_run(tmp_path / "0"), names[-1], tmp_path / "resumed")
    assert train_here("--resume", copy.path, "--workers", "3") == 0
    assert_same_run(only_run(tmp_path / "0"), copy)


def test_the_same_command_line_resumes_whatever_its_values(tmp_path):
    arguments = [*SMALL, "--loss", "sosr", "--opt", "adamw", "--opt-kwargs", "betas=(0.8,0.9)", "--scale", "0.5", "1.0"]
    assert train_here(*arguments, "--stop-epoch", "1", "--output", tmp_path) == 0
    assert train_here(*arguments, "--output", tmp_path, "--resume", "auto") == 0
    assert len(only_run(tmp_path).summary.read_text().splitlines()) == 3


def test_an_older_checkpoint_can_be_gone_on_from(tmp_path):
    assert train_here(*SMALL, "--loss", "ols", "--checkpoint-every", "3", "--output", tmp_path) == 0
    run = only_run(tmp_path)
    before, weights = journal_of(run), tensors_of(checkpoint_folders(run.checkpoints)[0])
    assert train_here("--resume", checkpoint_folders(run.checkpoints)[-1]) == 0
    assert journal_of(run) == before
    after = tensors_of(checkpoint_folders(run.checkpoints)[0])
    assert all(torch.equal(tensor, after[name]) for name, tensor in weights.items())


def test_a_run_from_when_loss_ce_meant_label_smoothing_keeps_it(tmp_path, capsys):
    arguments = [*SMALL, *TINY, "--experiment", "old", "--output"]
    assert train_here(*arguments, tmp_path / "straight", "--loss", "ce", "--smoothing", "0.1") == 0
    straight = only_run(tmp_path / "straight")
    copy = copy_until(straight, "epoch00001-update0000000", tmp_path / "resumed")
    # Such a run stored what was given, `--loss ce` and no --smoothing, beside what that meant.
    options = yaml.safe_load(copy.options.read_text())
    copy.options.write_text(yaml.safe_dump({**options, "smoothing": None}))
    capsys.readouterr()
    assert train_here(*arguments, tmp_path / "resumed", "--loss", "ce", "--resume", "auto") == 0
    text = capsys.readouterr().out
    assert "the run began when --loss ce implied label smoothing 0.1: it continues with that" in text
    assert [line.split() for line in text.splitlines() if line.startswith(("loss", "smoothing"))] == [
        ["loss", "ce(smoothing=0.1)"],
        ["smoothing", "0.1:", "--smoothing"],
    ]
    ours, theirs = (tensors_of(checkpoint_folders(run.checkpoints)[0]) for run in (copy, straight))
    assert ours.keys() == theirs.keys() and all(torch.equal(ours[name], theirs[name]) for name in theirs)


@pytest.mark.parametrize("arguments", [[], ["--loss", "ls"], ["--loss", "ce"], ["--loss", "sosr"]])
def test_a_run_of_today_goes_on_without_a_word_about_label_smoothing(arguments, tmp_path, capsys):
    arguments = [*SMALL, *TINY, *arguments, "--experiment", "run", "--output", tmp_path]
    assert train_here(*arguments, "--stop-epoch", "1") == 0
    before = capsys.readouterr().out
    assert train_here(*arguments, "--resume", "auto") == 0
    after = capsys.readouterr().out
    assert "implied label smoothing" not in after
    assert [line for line in before.splitlines() if "label smoothing" in line] == [
        line for line in after.splitlines() if "label smoothing" in line
    ]


def test_another_number_of_threads_is_said(tmp_path, capsys, monkeypatch):
    before = torch.get_num_threads()
    assert train_here(*SMALL, *TINY, "--stop-epoch", "1", "--output", tmp_path) == 0
    monkeypatch.setenv("OMP_NUM_THREADS", str(before + 1))
    try:
        assert train_here(*SMALL, *TINY, "--resume", "auto", "--output", tmp_path) == 0
    finally:
        torch.set_num_threads(before)
    said = f"computing with {before + 1} threads instead of {before}"
    assert said in capsys.readouterr().out


def test_trackers_and_the_journal_hold_the_same_figures(tmp_path):
    from tensorboard.backend.event_processing.event_accumulator import EventAccumulator

    arguments = [*SMALL, "--loss", "sosr", "--log-with", "tensorboard", "--output", tmp_path]
    assert train_here(*arguments, "--stop-epoch", "1") == 0
    run = only_run(tmp_path)
    assert train_here("--resume", run.path) == 0
    (events,) = {path.parent for path in run.path.rglob("events.out.tfevents.*") if path.parent.name == "sosr_timm"}
    record = EventAccumulator(str(events)).Reload()
    _, lines = journal_of(run)
    expected = {line["step"]: line["loss"] for line in lines if line["kind"] == "train"}
    found = {scalar.step: scalar.value for scalar in record.Scalars("train/loss")}
    assert found.keys() == expected.keys()
    assert all(abs(found[step] - expected[step]) < 1e-6 for step in expected)


def test_batches_of_several_sizes_go_on_with_as_many_samples_or_not_at_all(tmp_path):
    arguments = [*SMALL, "--train-img-sizes", "8", "12", "--train-steps-per-epoch", "4", "--output", tmp_path]
    assert train_here(*arguments, "--train-batch-sizes", "8", "4", "--stop-epoch", "1") == 0
    with pytest.raises(UserError, match=r"the run has batches of \[8, 4\] samples .* now they would have \[8, 8\]"):
        train_here("--resume", only_run(tmp_path).path, "--train-batch-sizes", "8", "8")
    assert train_here("--resume", only_run(tmp_path).path) == 0


def contents(folder) -> dict:
    return {path: (path.read_bytes(), path.stat().st_mtime_ns) for path in folder.rglob("*") if path.is_file()}


@pytest.mark.parametrize("resume", ["auto", "path"])
def test_a_finished_run_is_left_alone(resume, tmp_path, capsys, monkeypatch):
    arguments = [*SMALL, "--loss", "sosr", "--train-num-samples", "16", "--output", tmp_path]
    assert train_here(*arguments) == 0
    run = only_run(tmp_path)
    before = contents(run.path)
    assert run.path / "result.json" in before
    monkeypatch.setattr("sosr_timm.training.main.build_run", lambda *rest, **keywords: pytest.fail("built"))
    assert train_here(*arguments, "--resume", "auto" if resume == "auto" else run.path, "--workers", "1") == 0
    assert f"{run.path}: already finished (2 of 2 epochs); nothing to do" in capsys.readouterr().out
    assert contents(run.path) == before
    with pytest.raises(UserError, match="cannot resume"):
        train_here(*arguments, "--resume", run.path, "--lr", "0.01")


def test_a_run_that_was_killed_before_it_wrote_its_result_writes_it(tmp_path):
    arguments = [*SMALL, "--loss", "sosr", "--train-num-samples", "16", "--output", tmp_path]
    assert train_here(*arguments) == 0
    run = only_run(tmp_path)
    (run.path / "result.json").unlink()
    assert train_here(*arguments, "--resume", "auto") == 0
    assert (run.path / "result.json").is_file()


def test_a_checkpoint_is_hashed_once_on_resuming(tmp_path, monkeypatch):
    arguments = [*SMALL, "--loss", "sosr", "--train-num-samples", "16", "--output", tmp_path]
    assert train_here(*arguments, "--stop-epoch", "1") == 0
    hashed, digest = [], format._digest
    monkeypatch.setattr(format, "_digest", lambda path: (hashed.append(path), digest(path))[1])
    latest = checkpoint_folders(only_run(tmp_path).checkpoints)[0]
    assert train_here(*arguments, "--stop-epoch", "1", "--resume", "auto") == 0
    assert sorted(hashed) == sorted(path for path in latest.iterdir() if path.name != "manifest.json")
