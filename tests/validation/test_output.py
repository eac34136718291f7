"""What validate.py prints on a terminal, into a pipe and with --json; how its files are called and name classes."""

import csv
import json

import numpy as np
import pytest
from accelerate.state import AcceleratorState, GradientState

from sosr_timm.options.load import load
from sosr_timm.options.validate import ValidateOptions
from sosr_timm.validation.main import run_validation
from sosr_timm.validation.predictions import read_predictions
from tests.terminal import terminal
from tests.training.harness import SMALL, only_run, train_here


@pytest.fixture(scope="module")
def run(tmp_path_factory):
    output = tmp_path_factory.mktemp("runs")
    assert train_here(*SMALL, "--epochs", "1", "--loss", "sosr", "--model-ema", "--output", output) == 0
    return only_run(output)


def evaluate(*arguments):
    AcceleratorState._reset_state(True)
    GradientState._reset_state()
    return run_validation(load(ValidateOptions, [str(argument) for argument in arguments]))


@pytest.mark.parametrize("width", [80, 120])
def test_a_terminal_shows_a_table_that_fits_and_no_json(run, monkeypatch, width):
    with terminal(monkeypatch, width) as screen:
        assert evaluate(run.path, "--metrics-avg", "macro", "--log-freq", "1") == 0
    assert not [piece for piece in screen.pieces if piece.startswith("{")]
    assert all(len(piece) <= width for piece in screen.pieces)
    assert "model" in screen.text and "EMA" in screen.text and "weights" not in screen.text


def test_a_terminal_shows_json_where_it_is_asked_for(run, monkeypatch):
    with terminal(monkeypatch, 80) as screen:
        assert evaluate(run.path, "--json") == 0
    assert '{"subject": "cifar_resnet20' in screen.text


def test_a_pipe_gets_the_table_and_json_as_its_last_line(run, capsys):
    capsys.readouterr()
    assert evaluate(run.path) == 0
    lines = capsys.readouterr().out.splitlines()
    assert json.loads(lines[-1])["num_classes"] == 10 and any("top-1 %" in line for line in lines)


def test_json_alone_is_standard_output_for_a_program(run, capsys):
    capsys.readouterr()
    assert evaluate(run.path, "--json", "--log-freq", "1") == 0
    out, err = capsys.readouterr()
    assert json.loads(out)["weights"]["ema"]["count"] == 40
    assert "top-1 %" in err


def test_no_json_where_it_is_declined(run, capsys):
    capsys.readouterr()
    assert evaluate(run.path, "--no-json") == 0
    assert "{" not in capsys.readouterr().out


def test_predictions_have_the_name_given_and_name_the_classes(run, tmp_path):
    assert evaluate(run.path, "--predictions", tmp_path / "p.csv", "--output", tmp_path) == 0
    assert {path.name for path in tmp_path.glob("*.csv")} == {"p.csv", "p_ema.csv"}
    rows = list(csv.DictReader((tmp_path / "p.csv").open()))
    # The digits' classes are called by their numbers.
    assert all(row["target_name"] == row["target"] and row["guess1_name"] == row["guess1"] for row in rows)
    assert len(rows) == 40


def test_predictions_of_the_ema_alone_have_the_name_given(run, tmp_path):
    assert evaluate(run.path, "--use-ema", "--predictions", tmp_path / "p.npz", "--output", tmp_path) == 0
    assert [path.name for path in tmp_path.glob("*.npz")] == ["p.npz"]
    assert read_predictions(str(tmp_path / "p.npz")).samples.target.shape == (40,)
    with np.load(tmp_path / "p.npz", allow_pickle=False) as arrays:
        assert arrays["class_names"].tolist() == [str(number) for number in range(10)]


def test_tables_of_classes_have_number_and_name(run, tmp_path):
    assert evaluate(run.path, "--per-class", "--output", tmp_path) == 0
    rows = list(csv.DictReader((tmp_path / "classes.csv").open()))
    assert [row["number"] for row in rows] == [str(number) for number in range(10)]
    assert {"confusion.png", "confusion_ema.png"} <= {path.name for path in tmp_path.iterdir()}


def test_a_file_of_options_of_older_versions_may_name_the_run_as_its_subject(tmp_path):
    (tmp_path / "v.yaml").write_text("subject: somewhere\n")
    assert load(ValidateOptions, ["--config", str(tmp_path / "v.yaml")]).options.model.run == "somewhere"
    assert load(ValidateOptions, ["--subject", "there"]).options.model.run == "there"
    assert load(ValidateOptions, ["here"]).options.model.run == "here"
