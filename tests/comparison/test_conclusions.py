"""What the report says and does not say: sure differences with their size, the others with what could be shown."""

import dataclasses

import pytest

from sosr_timm.comparison.plan import Candidate, Plan
from sosr_timm.comparison.report import markdown, table_of_values, write_report
from sosr_timm.comparison.result import State, over_confident, result_of
from sosr_timm.runner.comparison_file import load_comparison
from sosr_timm.runner.record import save_record
from tests.runner.test_comparison_file import DIGITS

DATA = {"name": "digits", "classes": 10, "training_images": 100, "evaluation_images": 50, "digest": "0"}
LOSSES = tuple(Candidate(loss, loss, 4) for loss in ("ce", "ls", "sosr"))
PLAN = Plan("tiny", LOSSES, "ce", 6, "digits", {}, None, "top1", "validation", False, DATA)
_, (RECORD, *_) = load_comparison(DIGITS)


def record_of(method, seed, **values):
    """A record with these values in its last and best epoch."""
    evaluation = {epoch: {**RECORD.evaluation[epoch], **values} for epoch in ("last", "best")}
    run = dataclasses.replace(RECORD.run, seed=seed)
    return dataclasses.replace(RECORD, row={"method": method}, run=run, evaluation={**RECORD.evaluation, **evaluation})


def records_of(differences):
    """Records of four seeds: ce, and losses that differ from it by these values plus a little noise."""
    noise = (0.0, 0.01, -0.01, 0.005)
    records = [record_of("ce", seed, loss=0.5 + noise[seed], top1=90.0) for seed in range(4)]
    for loss, by_seed in differences.items():
        records += [record_of(loss, seed, loss=0.5 + noise[seed] + by_seed[seed], top1=90.0) for seed in range(4)]
    return records


SURE, UNSURE = (-0.012, -0.013, -0.011, -0.012), (-0.02, 0.03, 0.01, -0.03)


def summary_of(records, states=None, plan=PLAN, folder=None):
    return write_report(plan, records, states or {one.loss: State("complete") for one in plan.losses}, folder)


def test_a_sure_difference_is_told_with_its_size_and_an_unsure_one_with_what_could_be_shown(tmp_path):
    content = summary_of(records_of({"sosr": SURE, "ls": UNSURE}), folder=tmp_path)
    nll = next(sentence for sentence in content["summary"] if sentence.startswith("Negative"))
    assert "sosr has the lowest NLL (-0.0120 ± 0.0013 against ce)" in nll
    assert "the difference of ls to ce is below what 4 seeds can show (about " in nll


def test_a_loss_that_is_surely_worse_is_said_to_be_worse(tmp_path):
    content = summary_of(records_of({"sosr": [-value for value in SURE], "ls": UNSURE}), folder=tmp_path)
    nll = next(sentence for sentence in content["summary"] if sentence.startswith("Negative"))
    assert "worse than ce: sosr (+0.0120 ± 0.0013)" in nll and "lowest" not in nll


def test_losses_that_never_differ_are_said_to_be_equal(tmp_path):
    content = summary_of(records_of({"sosr": SURE, "ls": (0.0,) * 4}), folder=tmp_path)
    assert any("ls gave the same values as ce" in sentence for sentence in content["summary"])


def test_the_p_values_are_corrected_over_the_losses():
    content = result_of(PLAN, records_of({"sosr": SURE, "ls": UNSURE}), {one.loss: State("complete") for one in LOSSES})
    found = {one["loss"]: one["last"]["loss"].get("difference") for one in content["losses"]}
    assert found["sosr"]["p_holm"] == pytest.approx(2 * found["sosr"]["p"])
    assert found["ls"]["p_holm"] == pytest.approx(found["ls"]["p"])


def test_dropped_failed_and_missing_losses_are_in_no_table_and_named(tmp_path):
    states = {"ce": State("complete"), "ls": State("dropped", "after epoch 2"), "sosr": State("failed", "seed 0: x")}
    content = summary_of(records_of({"ls": SURE})[:8], states, folder=tmp_path)
    assert content["summary"][0] == "sosr failed (seed 0: x) and is not compared."
    assert not any(one["last"] for one in content["losses"] if one["loss"] != "ce")
    text = markdown(content)
    assert "| ls | dropped: after epoch 2 |" in text and "| sosr | failed: seed 0: x |" in text
    assert "\nls," not in table_of_values(content)
    assert not content["complete"]


def test_a_missing_baseline_leaves_nothing_to_compare(tmp_path):
    states = {"ce": State("failed", "x"), "ls": State("complete"), "sosr": State("complete")}
    content = summary_of(records_of({"ls": SURE, "sosr": SURE})[4:], states, folder=tmp_path)
    assert "The baseline ce has no runs to compare with." in content["summary"]


def test_without_another_loss_nothing_is_said_of_seeds(tmp_path):
    states = {"ce": State("complete"), "ls": State("failed", "x"), "sosr": State("failed", "x")}
    content = summary_of(records_of({}), states, folder=tmp_path)
    assert content["summary"][-1] == "No other loss has runs to compare with ce."


def test_runs_without_a_common_seed_are_not_compared(tmp_path):
    states = {"ce": State("incomplete"), "ls": State("complete"), "sosr": State("complete")}
    records = records_of({"ls": SURE, "sosr": SURE})[3:]
    records = [record for record in records if record.row["method"] == "ce" or record.run.seed < 3]
    content = summary_of(records, states, folder=tmp_path)
    assert content["summary"][-1].startswith("With one seed nothing can be concluded")
    assert not any("difference" in values for one in content["losses"] for values in one["last"].values())


def test_a_large_difference_by_chance_is_not_called_small(tmp_path):
    content = summary_of(records_of({"sosr": (0.0, 0.001, -0.001, 0.0), "ls": (9.0, 1.0, 9.0, 7.0)}), folder=tmp_path)
    nll = next(sentence for sentence in content["summary"] if sentence.startswith("Negative"))
    assert content["detectable"]["last"]["loss"] < 6.5
    assert "ls (+6.5000 ± " in nll and "varies too much from seed to seed to be told from ce" in nll
    assert "the difference of sosr to ce is below what 4 seeds can show" in nll


def test_missing_runs_make_the_report_provisional(tmp_path):
    states = {**{one.loss: State("complete") for one in LOSSES}, "ls": State("incomplete", "1 of 4 runs done")}
    content = summary_of(records_of({"sosr": SURE, "ls": SURE})[:-3], states, folder=tmp_path)
    assert content["summary"][0] == "Runs of ls are missing: everything below is provisional."


def test_over_confidence_is_a_share_of_the_training_samples():
    history = [{"confidence_samples": 200, "confidence_above_0.99": 50.0}]
    assert over_confident(dataclasses.replace(RECORD, history=history)) == 25.0
    assert over_confident(dataclasses.replace(RECORD, history=[{}])) is None


def test_a_record_of_a_comparison_comes_back_from_its_file(tmp_path):
    from sosr_timm.runner.record import load_record

    save_record(RECORD, tmp_path / "x.json")
    assert load_record(tmp_path / "x.json") == RECORD
