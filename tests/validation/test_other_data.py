"""validate.py --ood-dataset and --ood-data-dir: another data set's images, whatever their labels, size and colours."""

import csv

import numpy as np
import pytest
from accelerate.state import AcceleratorState
from PIL import Image

from sosr_timm.errors import UserError
from sosr_timm.metrics.out_of_distribution import out_of_distribution
from sosr_timm.options.load import load
from sosr_timm.options.validate import ValidateOptions
from sosr_timm.validation.main import run_validation
from sosr_timm.validation.predictions import read_predictions
from tests.training.harness import SMALL, only_run, train_here, validate


@pytest.fixture(scope="module")
def run(tmp_path_factory):
    output = tmp_path_factory.mktemp("runs")
    assert train_here(*SMALL, "--model-ema", "--model-ema-decay", "0.5", "--output", output) == 0
    return only_run(output)


@pytest.fixture(scope="module")
def noise(tmp_path_factory):
    """Coloured images of 13 classes, where the model has 10."""
    folder, random = tmp_path_factory.mktemp("noise"), np.random.default_rng(0)
    for number in range(13):
        (folder / "validation" / f"{number:02}").mkdir(parents=True)
        pixels = random.integers(256, size=(11, 9, 3), dtype=np.uint8)
        Image.fromarray(pixels).save(folder / "validation" / f"{number:02}" / "0.png")
    return folder


def test_images_of_other_classes_sizes_and_colours(run, noise, capsys, tmp_path):
    table = tmp_path / "a.csv"
    arguments = ["--ood-data-dir", noise, "--results-file", table, "--workers", "0"]
    record = validate(capsys, run.path, *arguments)
    assert {(one["ood"]["count"], one["ood"]["data"]) for one in record["weights"].values()} == {(13, str(noise))}
    without = validate(capsys, run.path)
    for title, metrics in record["weights"].items():
        ood = metrics.pop("ood")
        assert metrics == without["weights"][title], "the own images' metrics are the same"
        row = next(row for row in csv.DictReader(table.open()) if row["weights"] == title)
        assert float(row["ood_energy_auroc"]) == ood["energy"]["auroc"] and row["ood_data"] == str(noise)
    assert (run.path / "ood.png").is_file() and (run.path / "ood_ema.png").is_file()


def test_the_scores_are_those_of_an_evaluation_of_the_other_images(run, capsys, tmp_path):
    """Half of the digits as the other set: what they score is known from evaluating them alone."""
    sets = {"own": ["--num-samples", "40"], "other": ["--split", "train", "--num-samples", "30"]}
    for name, arguments in sets.items():
        validate(capsys, run.path, *arguments, "--use-ema", "--predictions", tmp_path / f"{name}.npz")
    own, other = (read_predictions(str(tmp_path / f"{name}.npz")).samples for name in sets)
    found = validate(
        *(capsys, run.path, "--use-ema", "--ood-dataset", "digits", "--ood-split", "train", "--ood-num-samples", "30")
    )
    expected = {"data": "digits", "split": "train"} | out_of_distribution(own, other)
    assert found["weights"]["ema"]["ood"] == expected


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (
            ["--ood-dataset", "digits", "--ood-num-samples", "40"],
            "names the images that are evaluated; name other ones",
        ),
        (["--ood-dataset", "digit"], "--ood-dataset digit: .*did you mean"),
        (["--ood-data-dir", "nowhere"], "--ood-data-dir nowhere: "),
        (["--ood-split", "train"], "--ood-split has no effect without --ood-dataset or --ood-data-dir"),
        (["--ood-num-samples", "3"], "--ood-num-samples has no effect without"),
        (["--ood-num-samples", "0"], "--ood-num-samples must be at least 1"),
        (["--confidence", "max_sotfmax"], "--confidence"),
        (["--p-norm", "0"], "--p-norm must be above 0"),
    ],
)
def test_bad_input(run, arguments, message):
    AcceleratorState._reset_state(True)
    with pytest.raises(UserError, match=message):
        run_validation(load(ValidateOptions, [str(run.path), *arguments]))


def test_not_for_a_comparison(run):
    arguments = ["--compare", str(run.path), str(run.path), "--ood-dataset", "fashion_mnist"]
    with pytest.raises(UserError, match="for one model or a list, not for --compare"):
        run_validation(load(ValidateOptions, arguments))
