"""What a run says at its end: the best and the last epoch as its files count them, and what can be done next."""

import csv
import json
import shlex

import pytest
from PIL import Image

from sosr_timm.checkpoints.run_folder import RunFolder
from tests.training.harness import SMALL, only_run, read_lines_of, train_here, validate


def words_after(text: str, name: str) -> list[str]:
    """The command line that is offered under a name."""
    (line,) = [line for line in text.splitlines() if line.startswith(f"  {name}  ")]
    return shlex.split(line.removeprefix(f"  {name}  "))


def test_a_finished_run_shows_its_best_epoch_as_every_file_counts_it(tmp_path, capsys):
    assert train_here(*SMALL, "--loss", "sosr", "--epochs", "3", "--output", tmp_path) == 0
    text, run = capsys.readouterr().out, only_run(tmp_path)
    result = json.loads((run.path / "result.json").read_text())
    best = int(result["best"]["epoch"])
    assert f"best epoch {best}:  top-1 {result['best']['top1']:.2f} %" in text
    assert f"last epoch 2:  top-1 {result['last']['top1']:.2f} %" in text
    with open(run.summary, newline="") as file:
        rows = list(csv.DictReader(file))
    assert [int(row["epoch"]) for row in rows] == [0, 1, 2]
    assert float(rows[best]["eval_top1"]) == result["best"]["top1"] == max(float(row["eval_top1"]) for row in rows)
    epochs = [line for line in read_lines_of(run) if line["kind"] == "epoch"]
    assert [line["epoch"] for line in epochs] == [0, 1, 2]
    for row in rows:
        assert f"epoch {row['epoch']}  train loss {float(row['train_loss']):.4f}  top-1" in text
    assert "length     3 epochs (0 to 2)" in text
    assert (run.path / "curves.png").read_bytes()[:4] == b"\x89PNG"


def test_a_finished_run_names_the_next_commands_and_stores_its_own_for_a_shell(tmp_path, capsys, monkeypatch):
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr("sys.argv", ["train.py", "--loss", "sosr(beta=0.5)"])
    assert train_here(*SMALL, "--output", tmp_path / "a folder", "--experiment", "run") == 0
    text = capsys.readouterr().out
    assert words_after(text, "evaluate") == ["python", "validate.py", "a folder/run"]
    assert words_after(text, "compare")[:4] == ["python", "validate.py", "--compare", "a folder/run"]
    assert words_after(text, "publish")[:3] == ["sosr-hub", "publish", "a folder/run"]
    assert "resume" not in text
    stored = [json.loads((tmp_path / "a folder" / "run" / name).read_text()) for name in ("run.json", "result.json")]
    assert [one["command"] for one in stored] == ["train.py --loss 'sosr(beta=0.5)'"] * 2
    assert validate(capsys, *words_after(text, "evaluate")[2:])["weights"]["weights"]["count"] == 40


def test_the_command_that_resumes_needs_nothing_else(tmp_path, capsys):
    assert train_here(*SMALL, "--loss", "sosr", "--stop-epoch", "1", "--output", tmp_path) == 0
    text = capsys.readouterr().out
    assert "stopped after 1 of 2 epochs because of --stop-epoch" in text
    assert "publish" not in text
    assert train_here(*words_after(text, "resume")[2:]) == 0
    assert (only_run(tmp_path).path / "result.json").is_file()


@pytest.fixture(scope="module")
def three_classes(tmp_path_factory):
    """A folder of class folders with three classes."""
    root = tmp_path_factory.mktemp("three")
    for split, count in (("train", 8), ("validation", 4)):
        for shade, name in enumerate(("cat", "dog", "bird")):
            (root / split / name).mkdir(parents=True)
            for number in range(count):
                Image.new("RGB", (8, 8), (80 * shade, 5 * number, 0)).save(root / split / name / f"{number}.png")
    return root


def test_top5_is_left_out_where_there_are_five_classes_or_fewer(three_classes, tmp_path, capsys):
    small = ("--model", "cifar_resnet20", "--img-size", "8", "--batch-size", "8", "--workers", "0", "--epochs", "1")
    assert train_here("--data-dir", three_classes, *small, "--output", tmp_path / "runs") == 0
    run = only_run(tmp_path / "runs")
    text = capsys.readouterr().out
    assert "top-1" in text and "top-5" not in text
    validate(capsys, run.path)
    assert json.loads((run.path / "evaluation.json").read_text())["weights"]["weights"]["top5"] == 100.0
    assert "eval_top5" in run.summary.read_text(), "timm's columns stay"


def test_the_words_for_one_thing_are_singular(tmp_path, capsys):
    assert train_here(*SMALL, "--epochs", "1", "--train-num-samples", "8", "--output", tmp_path) == 0
    text = capsys.readouterr().out
    assert "1 epoch (0) of 1 update, 1 in all" in text
    assert "1 epochs" not in text and "1 updates" not in text and "1 threads" not in text


@pytest.mark.parametrize(
    ("flags", "expected"),
    [
        (("--amp",), "--amp with float16 has no effect on a CPU, which computes in float32"),
        (("--model-dtype", "float16"), "float16 is slow on a CPU"),
        (("--amp", "--amp-dtype", "bfloat16"), ""),
        ((), ""),
    ],
)
def test_float16_on_a_cpu_is_one_line(tmp_path, capsys, flags, expected):
    assert train_here(*SMALL, "--epochs", "1", "--train-num-samples", "8", "--output", tmp_path, *flags) == 0
    lines = [line for line in capsys.readouterr().out.splitlines() if "float16" in line and "CPU" in line]
    assert len(lines) == bool(expected) and all(expected in line for line in lines)


def test_curves_that_cannot_be_written_do_not_fail_the_run(tmp_path, capsys, monkeypatch):
    def full(*arguments):
        raise OSError(28, "No space left on device")

    monkeypatch.setattr("sosr_timm.training.summary.draw_curves", full)
    assert train_here(*SMALL, "--output", tmp_path) == 0
    assert "curves.png not written (No space left on device)" in capsys.readouterr().out
    assert (RunFolder(only_run(tmp_path).path).path / "result.json").is_file()
