"""What validate.py finds out: plots, per-class figures, temperature, predictions, comparisons, parts of the classes."""

import csv
import json

import numpy as np
import pytest
from accelerate.state import AcceleratorState
from PIL import Image
from sklearn import metrics as sklearn
from timm.data import RealLabelsImagenet

from sosr_timm.checkpoints.run_folder import RunFolder
from sosr_timm.data.sources.catalog import open_source
from sosr_timm.errors import UserError
from sosr_timm.options.load import load
from sosr_timm.options.validate import ValidateOptions
from sosr_timm.validation.main import run_validation
from tests.training.harness import SMALL, only_run, train_here, validate


@pytest.fixture(scope="module")
def run(tmp_path_factory) -> RunFolder:
    output = tmp_path_factory.mktemp("runs")
    assert train_here(*SMALL, "--output", output) == 0
    return only_run(output)


@pytest.fixture(scope="module")
def images(tmp_path_factory):
    """60 of the digits as files that are called as ImageNet's are."""
    root = tmp_path_factory.mktemp("images")
    source = open_source("digits", None, "validation")
    for index in range(60):
        image, label = source.load(index)
        (root / "validation" / str(label)).mkdir(parents=True, exist_ok=True)
        image.save(root / "validation" / str(label) / f"ILSVRC2012_val_{index + 1:08d}.png")
    return root


def refused(message: str, *arguments: object) -> None:
    AcceleratorState._reset_state(True)
    with pytest.raises(UserError, match=message) as caught:
        run_validation(load(ValidateOptions, [str(argument) for argument in arguments]))
    assert "\n" not in str(caught.value)


def test_all_of_it_in_one_evaluation(run, capsys, tmp_path):
    file = tmp_path / "predictions.npz"
    flags = ["--per-class", "--temperature", "0.5", "--predictions", file, "--output", tmp_path, "--num-samples", "90"]
    record = validate(capsys, run.path, *flags, "--log-freq", "2")
    metrics = record["weights"]["weights"]
    with np.load(file, allow_pickle=False) as arrays:
        target, guess, logits = arrays["target"], arrays["guesses"][:, 0], arrays["logits"]
        assert [str(name) for name in arrays["name"][:2]] == ["digits validation image 0", "digits validation image 3"]
    assert logits.shape == (90, 10)
    assert (logits.argmax(axis=1) == guess).all()
    assert metrics["top1"] == pytest.approx(100 * sklearn.accuracy_score(target, guess))
    theirs = sklearn.precision_recall_fscore_support(target, guess, average="macro", zero_division=0)[:3]
    assert list(metrics["averages"]["macro"].values()) == pytest.approx(theirs)
    rows = list(csv.reader((tmp_path / "confusion.csv").open()))
    assert [list(map(int, row[1:])) for row in rows[1:]] == sklearn.confusion_matrix(target, guess).tolist()
    classes = list(csv.DictReader((tmp_path / "classes.csv").open()))
    expected = sklearn.f1_score(target, guess, average=None, zero_division=0)
    assert [float(row["f1"]) for row in classes] == pytest.approx(list(expected))
    assert metrics["temperature"]["before"]["count"] == metrics["temperature"]["after"]["count"] == 45
    assert metrics["temperature"]["after"]["loss"] < metrics["temperature"]["before"]["loss"]
    assert record["speed"]["weights"]["images_per_second"] > 0
    assert 0 <= record["speed"]["weights"]["data_wait"] <= 1
    for name in ("confusion.png", "reliability.png"):
        with Image.open(tmp_path / name) as image:
            assert image.format == "PNG" and min(image.size) > 300
    assert json.loads((tmp_path / "evaluation.json").read_text()) == record
    assert not (run.path / "evaluation.json").exists()


def test_how_batches_are_made_changes_no_bit(run, capsys):
    found = [
        validate(capsys, run.path, *flags, "--workers", "0")["weights"]
        for flags in ([], ["--loader", "workers"], ["--loader", "workers", "--no-prefetcher"])
    ]
    assert found[0] == found[1] == found[2]


def test_predictions_as_a_table(run, capsys, tmp_path):
    record = validate(capsys, run.path, "--predictions", tmp_path / "p.csv")
    rows = list(csv.DictReader((tmp_path / "p.csv").open()))
    right = [row["guess1"] == row["target"] for row in rows]
    assert 100 * sum(right) / len(right) == record["weights"]["weights"]["top1"]


def test_a_comparison_with_itself_finds_nothing(run, capsys, tmp_path):
    validate(capsys, run.path, "--predictions", tmp_path / "a.npz", "--output", tmp_path)
    files = ["--output", tmp_path, "--results-file", tmp_path / "c.csv"]
    record = validate(capsys, "--compare", run.path, tmp_path / "a.npz", *files)
    assert (record["difference"], record["p_value"], record["interval"]) == (0, 1, [0, 0])
    assert json.loads((tmp_path / "comparison.json").read_text()) == record
    (row,) = csv.DictReader((tmp_path / "c.csv").open())
    assert float(row["top1_a"]) == record["top1_a"]


def test_a_comparison_counts_what_only_one_gets_right(run, capsys, tmp_path):
    first = sorted(path for path in run.checkpoints.glob("epoch*"))[0]
    validate(capsys, first, "--predictions", tmp_path / "a.npz", "--output", tmp_path)
    validate(capsys, run.path, "--predictions", tmp_path / "b.npz", "--output", tmp_path, "--which", "last")
    right = []
    for name in "ab":
        with np.load(tmp_path / f"{name}.npz") as arrays:
            right.append(arrays["guesses"][:, 0] == arrays["target"])
    record = validate(capsys, "--compare", first, run.path, "--which", "last", "--output", tmp_path)
    assert record["only_a"] == (right[0] & ~right[1]).sum()
    assert record["only_b"] == (right[1] & ~right[0]).sum()
    assert record["difference"] == pytest.approx(100 * (right[1].mean() - right[0].mean()))
    other = ["--compare", first, tmp_path / "a.npz", "--num-samples", 30]
    refused("other images: .* on 30 images of digits, .* on 40", *other)


def test_only_some_classes_may_be_guessed(run, images, capsys, tmp_path):
    allowed = [1, 4, 8]
    (tmp_path / "numbers.txt").write_text("1\n4\n8\n")
    (tmp_path / "map.txt").write_text("".join(f"{digit}\n" for digit in range(10)))
    for digit in allowed:
        (tmp_path / "validation").mkdir(exist_ok=True)
        (tmp_path / "validation" / str(digit)).symlink_to(images / "validation" / str(digit))
    data = [run.path, "--data-dir", tmp_path, "--output", tmp_path, "--predictions", tmp_path / "p.npz"]
    validate(capsys, *data, "--class-map", tmp_path / "map.txt")
    with np.load(tmp_path / "p.npz") as arrays:
        logits, target = arrays["logits"], arrays["target"]
    expected = 100 * (np.array(allowed)[logits[:, allowed].argmax(axis=1)] == target).mean()
    part = validate(capsys, *data, "--valid-labels", tmp_path / "numbers.txt")["weights"]["weights"]
    named = [*data, "--class-map", tmp_path / "map.txt", "--valid-labels", tmp_path / "numbers.txt"]
    whole = validate(capsys, *named)["weights"]["weights"]
    assert part["top1"] == whole["top1"] == pytest.approx(expected)
    assert part["loss"] == pytest.approx(whole["loss"])
    (tmp_path / "two.txt").write_text("1\n4\n")
    refused("names 2 classes and the model has 10; the data set has 3", *data, "--valid-labels", tmp_path / "two.txt")
    refused("does not name class 8", *named[:-1], tmp_path / "two.txt")
    broken = {"1\n10": "line 2: 10 is not one of the model's 10", "1\nx": "'x' is not a number", "": "is empty"}
    for text, message in broken.items():
        (tmp_path / "bad.txt").write_text(text)
        refused(message, *data, "--valid-labels", tmp_path / "bad.txt")


def test_reassessed_labels_count_as_timm_counts_them(run, images, capsys, tmp_path):
    random = np.random.default_rng(0)
    real = [sorted(random.choice(10, size=random.integers(0, 4), replace=False).tolist()) for _ in range(60)]
    (tmp_path / "real.json").write_text(json.dumps(real))
    data = [run.path, "--data-dir", images, "--output", tmp_path]
    record = validate(
        capsys,
        *data,
        "--real-labels",
        tmp_path / "real.json",
        "--predictions",
        tmp_path / "p.npz",
        "--results-file",
        tmp_path / "r.csv",
    )
    import torch

    with np.load(tmp_path / "p.npz") as arrays:
        # timm only knows names that end in JPEG.
        names = [str(name).replace(".png", ".JPEG") for name in arrays["name"]]
        timm = RealLabelsImagenet(names, real_json=str(tmp_path / "real.json"))
        timm.add_result(torch.from_numpy(arrays["logits"]))
    found = record["weights"]["weights"]["real_labels"]
    assert (found["top1"], found["top5"]) == pytest.approx((timm.get_accuracy(1), timm.get_accuracy(5)))
    assert found["count"] == sum(map(bool, real))
    (row,) = csv.DictReader((tmp_path / "r.csv").open())
    assert float(row["top1"]) == pytest.approx(found["top1"], abs=1e-3)
    broken = {
        "{": "not JSON",
        "{}": "holds a dict, not a list",
        "[[1], [99]]": r"entry 1: \[99\] is no",
        "[[1]]": "is not in the file",
    }
    for text, message in broken.items():
        (tmp_path / "bad.json").write_text(text)
        refused(message, *data, "--real-labels", tmp_path / "bad.json")
    refused("none.json: no such file", *data, "--real-labels", tmp_path / "none.json")
    refused("is not in the file", run.path, "--real-labels", tmp_path / "real.json")
