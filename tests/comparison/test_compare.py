"""Comparisons from the command line to the report: paired, resumed to the same bytes, chosen on held-out images."""

import csv
import json
import math
import os
import shutil
import signal

import pytest
import torch
from scipy import stats

from sosr_timm.comparison.choices import CHOICES
from sosr_timm.comparison.report import MARKDOWN, TABLE
from sosr_timm.comparison.study import PAGE
from sosr_timm.errors import UserError
from sosr_timm.runner.comparison_file import RESULT, load_comparison
from sosr_timm.runner.record import load_records
from tests.comparison.worked import InProcess, compare, results, use_in_process
from tests.training.harness import SMALL, build_here


@pytest.fixture
def in_process(monkeypatch):
    return use_in_process(monkeypatch)


def content_of(folder):
    return json.loads((results(folder) / RESULT).read_text())


def without_cost(folder):
    """The tables of a report: all of it but the section on seconds and machines."""
    report = results(folder)
    content = content_of(folder)
    del content["cost"]
    text = (report / MARKDOWN).read_text().partition("## Cost")[0]
    return text, (report / TABLE).read_bytes(), content


LOSSES = ("ce", "ls", "ols", "sosr", "maxsup", "cp", "tfkd", "zipf", "margin")


def test_the_same_seed_means_the_same_weights_order_and_augmentation_for_every_loss(tmp_path):
    augmented = ("--mixup", "0.2", "--drop", "0.1")
    runs = {}
    for number, loss in enumerate(LOSSES):
        more = augmented if loss in ("ce", "ls", "sosr", "cp") else ()
        run = build_here(tmp_path / str(number), *SMALL, *more, "--loss", loss, "--seed", "3")
        batches = run.batches()
        seen = [next(batches) for _ in range(3)]
        runs.setdefault(more, []).append((run.model.state_dict(), [(batch.images, batch.indices) for batch in seen]))
    for together in runs.values():
        weights, batches = together[0]
        assert len(together) > 1
        for others, other_batches in together[1:]:
            assert all(torch.equal(weights[name], others[name]) for name in weights)
            for (images, indices), (other_images, other_indices) in zip(batches, other_batches, strict=True):
                assert torch.equal(torch.as_tensor(indices), torch.as_tensor(other_indices))
                assert torch.equal(images, other_images)


def test_a_comparison_gives_means_paired_differences_and_sentences(tmp_path, in_process, capsys):
    words = ("--losses", "ce", "ls", "--seeds", "2", "--epochs", "2", "--output", tmp_path)
    assert compare(*words) == 0
    said = capsys.readouterr().out
    assert "can show" in said or "has the" in said
    content, records = load_comparison(results(tmp_path))
    assert content["complete"] and len(records) == 4
    assert [one["loss"] for one in content["losses"]] == ["ce", "ls"]
    by_run = {(record.row["method"], record.run.seed): record for record in records}
    for epoch in ("best", "last"):
        values = {key: record.evaluation[epoch]["loss"] for key, record in by_run.items()}
        found = content["losses"][1][epoch]["loss"]
        differences = [values["ls", seed] - values["ce", seed] for seed in (0, 1)]
        assert found["mean"] == pytest.approx((values["ls", 0] + values["ls", 1]) / 2)
        assert found["difference"]["mean"] == pytest.approx(sum(differences) / 2)
        assert found["difference"]["p"] == pytest.approx(stats.ttest_1samp(differences, 0).pvalue)
        assert found["difference"]["p_holm"] == found["difference"]["p"], "one loss needs no correction"
    # The evaluation of the stored checkpoint is that of training.
    for record in records:
        assert record.evaluation["last"]["top1"] == record.run.last["top1"]
        assert record.evaluation["best"]["loss"] == pytest.approx(record.run.best["loss"], rel=1e-6)
        assert len(record.history) == 2 and record.history[-1]["eval_top1"] == record.run.last["top1"]
        assert record.history[-1]["confidence_samples"] == 200
        assert len(record.evaluation["last"]["risk_coverage"]["risk"]) == 100
    rows = list(csv.DictReader((results(tmp_path) / TABLE).open()))
    assert {row["metric"] for row in rows} == {"top1", "loss", "ece", "ece_scaled", "aurc", "over_confident"}
    assert float(rows[0]["mean"]) == content["losses"][0]["last"]["top1"]["mean"]

    # Finished: nothing is run again, and no directory of this machine is in any file.
    count = InProcess.started
    assert compare(*words) == 0
    assert InProcess.started == count
    for path in results(tmp_path).rglob("*.*"):
        if path.is_file():
            assert str(tmp_path) not in path.read_text(), path


def test_a_killed_comparison_continues_to_the_same_bytes_here_and_on_another_checkout(
    tmp_path, in_process, monkeypatch
):
    words = ("--losses", "ce", "sosr", "--seeds", "2", "--epochs", "2")
    assert compare(*words, "--output", tmp_path / "straight") == 0
    InProcess.started, InProcess.stop_before = 0, 3
    killed = ("--output", tmp_path / "killed")
    with pytest.raises(KeyboardInterrupt):
        compare(*words, *killed)
    stored = results(tmp_path / "killed")
    assert len(load_records(stored / "runs")) == 2
    elsewhere = tmp_path / "elsewhere" / "digits" / "results"
    elsewhere.parent.mkdir(parents=True)
    shutil.copytree(stored, elsewhere)
    InProcess.stop_before = None
    assert compare(*words, *killed) == 0
    assert without_cost(tmp_path / "killed") == without_cost(tmp_path / "straight")
    # Only records were copied, no run folder.
    InProcess.started = 0
    assert compare(*words, "--output", tmp_path / "new", "--results", elsewhere) == 0
    assert InProcess.started == 2
    assert without_cost(tmp_path / "elsewhere") == without_cost(tmp_path / "straight")


def test_a_stopped_comparison_says_so_and_continues(tmp_path, in_process, monkeypatch):
    words = ("--losses", "ce", "ls", "--seeds", "1", "--epochs", "1", "--html", "--output", tmp_path)

    def stop(self, *rest, **others):
        os.kill(os.getpid(), signal.SIGTERM)
        original(self, *rest, **others)

    original = InProcess.__init__
    monkeypatch.setattr(InProcess, "__init__", stop)
    assert compare(*words) == 128 + signal.SIGTERM
    assert not content_of(tmp_path)["complete"]
    assert "all values are provisional" in (results(tmp_path) / PAGE).read_text()
    monkeypatch.setattr(InProcess, "__init__", original)
    assert compare(*words) == 0
    content = content_of(tmp_path)
    assert content["complete"]
    assert content["summary"] == ["With one seed nothing can be concluded: chance cannot be told from the losses."]
    page = (results(tmp_path) / PAGE).read_text()
    assert "With one seed nothing can be concluded" in page and "provisional" not in page


def test_a_loss_that_fails_is_named_and_the_others_are_compared(tmp_path, in_process, capsys):
    # jsd needs --aug-splits, which the other losses cannot have.
    words = ("--losses", "ce", "ls", "jsd", "--seeds", "2", "--epochs", "1", "--output", tmp_path)
    assert compare(*words) == 1
    said = capsys.readouterr().out
    assert "jsd failed (seed 0, epoch 1: " in said
    content = content_of(tmp_path)
    by_loss = {one["loss"]: one for one in content["losses"]}
    assert by_loss["jsd"]["status"] == "failed" and not by_loss["jsd"]["last"]
    assert by_loss["ls"]["status"] == "complete" and by_loss["ls"]["last"]["top1"]["n"] == 2
    assert not content["complete"]
    assert "| jsd | failed: seed 0, epoch 1: " in (results(tmp_path) / MARKDOWN).read_text()


def test_values_are_selected_on_held_out_images_and_the_test_images_are_looked_at_once(tmp_path, in_process):
    words = ("--losses", "ce", "--grid", "sosr(beta=0.1,500.0)", "--select-on", "0.3", "--select-by", "loss")
    words = (*words, "--seeds", "2", "--epochs", "2", "--lr", "0.5", "--output", tmp_path)
    assert compare(*words) == 0
    content, records = load_comparison(results(tmp_path))
    by_loss = {one["loss"]: one for one in content["losses"]}
    chosen = [loss for loss, one in by_loss.items() if one["grid"] and one["status"] == "complete"]
    left = [loss for loss, one in by_loss.items() if one["status"] == "not selected"]
    assert len(chosen) == len(left) == 1 and not by_loss[left[0]]["last"]
    held_out = {loss: [] for loss in by_loss}
    for record in records:
        held_out[record.row["method"]].append(record.history[-1]["eval_loss"])
    assert sum(held_out[chosen[0]]) <= sum(held_out[left[0]])
    for record in records:
        loss = record.row["method"]
        assert bool(record.test) == (loss not in left), "what was not selected is not evaluated on the test images"
        assert record.evaluation["images"] == content["data"]["evaluation_images"]
        if record.test:
            assert record.test["images"] == content["data"]["test_images"] == 120
            assert record.test["temperature_fitted_on"] == "the held-out part of the training images"
            assert record.test["last"]["temperature"] == record.evaluation["last"]["temperature_of_all"]
            shown = by_loss[loss]["last"]["top1"]["values"][str(record.run.seed)]
            assert shown == record.test["last"]["top1"]
    assert any("Selected on" in note and "by loss" in note for note in content["notes"])
    before = (results(tmp_path) / CHOICES).read_bytes()
    count = InProcess.started
    assert compare(*words) == 0
    assert (results(tmp_path) / CHOICES).read_bytes() == before and InProcess.started == count
    with pytest.raises(UserError, match="chooses between its losses"):
        compare(*words, "--losses", "ce", "ls")


def test_losers_are_dropped_early_and_are_in_no_average(tmp_path, in_process):
    losses = ("ce", "ls", "sosr", "cp(weight=1000.0)")
    words = ("--losses", *losses, "--select-on", "0.3", "--early-stop-losers", "--seeds", "1", "--epochs", "4")
    assert compare(*words, "--output", tmp_path) == 0
    content, records = load_comparison(results(tmp_path))
    by_loss = {one["loss"]: one for one in content["losses"]}
    dropped = {loss: one["reason"] for loss, one in by_loss.items() if one["status"] == "dropped"}
    assert len(dropped) == 2 and "cp(weight=1000.0)" in dropped and "ce" not in dropped
    assert sorted(reason[: len("after epoch 1")] for reason in dropped.values()) == ["after epoch 1", "after epoch 2"]
    assert {record.row["method"] for record in records} == by_loss.keys() - dropped.keys()
    assert all(not by_loss[loss]["last"] and not by_loss[loss]["best"] for loss in dropped)
    assert any("successive halving" in note for note in content["notes"])
    assert any("cp(weight=1000.0): dropped, after epoch 1" in note for note in content["notes"])
    assert math.isfinite(by_loss["ce"]["last"]["top1"]["mean"])


def test_a_budget_that_is_too_small_is_refused_before_anything_is_written(tmp_path, in_process, monkeypatch, capsys):
    from sosr_timm.comparison import main
    from sosr_timm.comparison.budget import Speed

    monkeypatch.setattr(main, "measure_speed", lambda commands, slots: Speed(start=10.0, epoch=60.0, evaluation=5.0))
    words = ("--losses", "ce", "ls", "--seeds", "5", "--epochs", "9", "--output", tmp_path)
    # A run takes 10 + 9 x 60 + 2 x 5 = 560 s; ten one after the other 5,600 s.
    with pytest.raises(UserError, match=r"10 runs take about 93 min.*nearest plan that fits: --seeds 3 \(56 min\)"):
        compare(*words, "--budget", "1h")
    assert "plan: 10 runs of 9 epochs, 90 epochs in all; about 9 min a run, 1 at a time" in capsys.readouterr().out
    with pytest.raises(UserError, match="too small for one run"):
        compare(*words, "--budget", "5min")
    with pytest.raises(UserError, match="too small for one run: one epoch alone takes 80 s"):
        compare(*words, "--budget", "30s")
    assert not list(tmp_path.iterdir())


def test_a_dry_run_writes_nothing(tmp_path, capsys):
    assert compare("--losses", "ce", "ls", "--seeds", "1", "--dry-run", "--output", tmp_path) == 0
    assert capsys.readouterr().out.count("sosr_timm.comparison.worker") == 2
    assert not list(tmp_path.iterdir())
