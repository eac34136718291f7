"""validate.py --compare: every metric with an interval, several models at once, temperatures, sentences."""

import csv
import json
import re

import numpy as np
import pytest
from accelerate.state import AcceleratorState

from sosr_timm.errors import UserError
from sosr_timm.metrics.bootstrap import holm
from sosr_timm.options.load import load
from sosr_timm.options.validate import ValidateOptions
from sosr_timm.validation.comparison_report import sentences
from sosr_timm.validation.main import run_validation
from tests.training.harness import SMALL, only_run, train_here, validate


@pytest.fixture(scope="module")
def run(tmp_path_factory):
    output = tmp_path_factory.mktemp("runs")
    assert train_here(*SMALL, "--checkpoint-hist", "3", "--output", output) == 0
    return only_run(output)


@pytest.fixture(scope="module")
def files(run, tmp_path_factory):
    """Predictions of a model that learnt something, of one that guesses, and the first one's as an old file."""
    folder, random = tmp_path_factory.mktemp("files"), np.random.default_rng(0)
    AcceleratorState._reset_state(True)
    options = [str(run.path), "--predictions", str(folder / "a.npz"), "--output", str(folder), "--num-samples", "40"]
    assert run_validation(load(ValidateOptions, options)) == 0
    with np.load(folder / "a.npz") as arrays:
        content = dict(arrays)
    old = {name: value for name, value in content.items() if not name.startswith("score_") and name != "logits"}
    np.savez_compressed(folder / "old.npz", **old)
    target = content["target"]
    logits = random.normal(size=content["logits"].shape) + 9 * np.eye(10)[target]
    order = np.argsort(-logits, axis=1)[:, :5]
    everything = np.exp(logits) / np.exp(logits).sum(axis=1, keepdims=True)
    good = content | {"guesses": order, "probabilities": np.take_along_axis(everything, order, axis=1)}
    good |= {"logits": logits.astype(np.float32), "subject": np.array("good")}
    good["score_loss"] = -np.log(np.take_along_axis(everything, target[:, None], axis=1))[:, 0]
    good["score_max_softmax"] = good["probabilities"][:, 0]
    np.savez_compressed(folder / "good.npz", **good)
    return folder


def refused(message, *arguments):
    AcceleratorState._reset_state(True)
    with pytest.raises(UserError, match=message):
        run_validation(load(ValidateOptions, [str(argument) for argument in arguments]))


def test_every_metric_has_an_interval_and_a_verdict(run, files, capsys, tmp_path):
    arguments = ["--compare", run.path, files / "good.npz", "--output", tmp_path, "--resamples", "1000"]
    record = validate(capsys, *arguments, "--temperature", "0.5")
    evaluation = validate(capsys, run.path, "--temperature", "0.5", "--output", tmp_path)["weights"]["weights"]
    metrics = record["metrics"]
    assert {"loss", "brier", "ece", "ece_adaptive", "ece_classwise", "aurc", "augrc", "risk_at_95"} <= set(metrics)
    for name in ("top1", "top5", "loss", "brier", "ece", "ece_adaptive", "ece_classwise"):
        assert metrics[name]["a"] == pytest.approx(evaluation[name], abs=1e-9), name
    for name in ("aurc", "augrc", "risk_at_80"):
        assert metrics[name]["a"] == pytest.approx(evaluation["selective"]["max_softmax"][name], abs=1e-12)
    scaled = evaluation["temperature"]
    assert metrics["ece_before"]["a"] == pytest.approx(scaled["before"]["ece"], abs=1e-9)
    assert metrics["ece_after"]["a"] == pytest.approx(scaled["after"]["ece"], abs=1e-9)
    assert record["temperature"]["a"] == scaled
    assert [row["p_holm"] for row in metrics.values()] == holm([row["p_value"] for row in metrics.values()])
    assert metrics["top1"]["p_value"] == record["p_value"] and metrics["top1"]["interval"] == record["interval"]
    assert metrics["top1"]["better"] == metrics["loss"]["better"] == "b" and metrics["loss"]["interval"][1] < 0
    assert record["metrics_resamples"] == 1000 and record["correction"] == f"Holm, over {len(metrics)} comparisons"
    assert json.loads((tmp_path / "comparison.json").read_text()) == record
    assert (tmp_path / "risk_coverage_compared.png").is_file()
    first, *_ = sentences(record, record)
    assert first.startswith("B (good) is better by top-1, ")


def test_several_are_compared_with_the_first_and_corrected_together(files, capsys, caplog, tmp_path):
    names = [files / name for name in ("a.npz", "good.npz", "old.npz")]
    table = tmp_path / "a.csv"
    record = validate(capsys, "--compare", *names, "--resamples", "100", "--results-file", table)
    good, old = record["comparisons"]
    rows = [row for one in (good, old) for row in one["metrics"].values()]
    assert [row["p_holm"] for row in rows] == holm([row["p_value"] for row in rows])
    assert record["correction"] == f"Holm, over {len(rows)} comparisons" and "b" not in record
    assert all(row["better"] is None and row["p_value"] == 1 for row in old["metrics"].values()), "the same predictions"
    assert set(old["not_compared"]) == {"loss", "brier", "ece_classwise"}, "an old file has no scores and no logits"
    assert sentences(record, old)[-1].startswith("Not compared: NLL, Brier and class-wise ECE; ")
    few = "--resamples 100: over .* no corrected bootstrap p-value can be below 0\\.[4-6].*; take 8.. or more"
    assert re.search(few, caplog.text)
    alone = validate(capsys, "--compare", *names[:2], "--resamples", "100")
    for name, row in alone["metrics"].items():
        assert {**row, "p_holm": 0} == {**good["metrics"][name], "p_holm": 0, "better": row["better"]}
    assert [row["b"] for row in csv.DictReader(table.open())] == ["good", record["a"]]


def test_bad_input(files):
    a, old = files / "a.npz", files / "old.npz"
    refused("--compare needs two runs, checkpoints, models or files of --predictions, or more", "--compare", a)
    refused("--temperature: .* has no logits; write --predictions again", "--compare", a, old, "--temperature", "0.5")
    refused("leaves 0 of 40 samples to fit on", "--compare", a, a, "--temperature", "0.001")
    refused("--resamples must be at least 100", "--compare", a, a, "--resamples", "10")
