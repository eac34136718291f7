"""What a page shows, from run folders and from a comparison."""

import json
import shutil

import pytest

from sosr_timm.errors import UserError
from sosr_timm.page.comparisons import content_of_comparison, training_command
from sosr_timm.page.content import (
    confidence_quantities,
    epoch_curves,
    merged_bins,
    quantities,
    reliabilities,
    risk_curves,
)
from sosr_timm.page.main import watched
from sosr_timm.page.runs import content_of_runs, find_runs
from sosr_timm.runner.comparison_file import load_comparison
from sosr_timm.runner.statistics import mean_of
from tests.page.stored import evaluated, stored_run, values_of
from tools.checkout import ROOT

COMPARISON = ROOT / "tests" / "fixtures" / "comparison"
OLD_RUN = ROOT / "tests" / "fixtures" / "run_0_1_0"


@pytest.fixture
def runs(tmp_path):
    for loss, gain in (("ce", 0.0), ("sosr", 1.0)):
        for seed in (1, 0, 2):
            stored_run(tmp_path / f"{loss}-{seed}", loss, seed, gain=gain)
    return tmp_path


def test_runs_that_differ_in_their_seeds_only_are_one_group(runs):
    content = content_of_runs(find_runs(runs))
    assert [(group.label, group.seeds) for group in content.groups] == [("ce", [0, 1, 2]), ("sosr", [0, 1, 2])]
    assert content.complete and content.different == {"loss": {"ce": "ce", "sosr": "sosr"}}
    assert content.same["lr"] == 0.1 and "seed" not in content.same
    expected = mean_of([values_of(3, seed, 1.0)["top1"] for seed in range(3)])
    found = content.groups[1].values["last"]["top1"]
    assert (found["mean"], found["half_width"], found["n"]) == (expected.value, expected.half_width, 3)
    assert found["values"] == {str(seed): values_of(3, seed, 1.0)["top1"] for seed in range(3)}
    assert content.groups[0].seconds["mean"] == 61.0
    assert content.summary[1] == "Top-1 accuracy of the last epoch: 77.00 ± 2.48 % with sosr, which is the highest."


def test_groups_of_one_loss_are_named_by_the_options_that_differ(tmp_path):
    for lr in (0.1, 0.3):
        stored_run(tmp_path / f"lr{lr}", "sosr", lr=lr)
    content = content_of_runs(find_runs(tmp_path))
    assert [group.label for group in content.groups] == ["sosr, lr 0.1", "sosr, lr 0.3"]
    assert content.different == {"lr": {"sosr, lr 0.1": 0.1, "sosr, lr 0.3": 0.3}}


def test_a_run_that_is_not_finished_is_in_the_curves_and_in_no_mean_with_finished_ones(tmp_path):
    stored_run(tmp_path / "a", "ce", 0)
    stored_run(tmp_path / "b", "ce", 1, done=2)
    stored_run(tmp_path / "c", "ls", 0, done=3)
    content = content_of_runs(find_runs(tmp_path))
    ce, ls = content.groups
    assert not content.complete and ce.values["last"]["top1"]["values"] == {"0": values_of(3, 0, 0)["top1"]}
    assert (ce.status, ce.reason) == ("under way", "seed 1: 2 of 4 epochs")
    assert ls.values["last"]["top1"]["mean"] == values_of(2, 0, 0)["top1"]
    assert ls.values["best"]["loss"]["mean"] == values_of(2, 0, 0)["loss"]
    stored_run(tmp_path / "d", "cp", 0, done=3, eval_metric="map")
    cp = content_of_runs([tmp_path / "d"]).groups[0]
    assert cp.values["last"]["top1"]["mean"] == values_of(2, 0, 0)["top1"] and cp.values["best"] == {}
    (curve,) = [one for one in epoch_curves(content, quantities(content)[0]) if one.index == 0]
    assert curve.n == [2, 2, 1, 1] and curve.x == [1, 2, 3, 4]


def test_a_run_that_has_not_evaluated_yet_is_shown_without_values(tmp_path):
    stored_run(tmp_path / "a", "ce", 0, done=0)
    (tmp_path / "a" / "metrics.jsonl").unlink()
    content = content_of_runs(find_runs(tmp_path))
    assert content.groups[0].reason == "seed 0: 0 of 4 epochs" and content.groups[0].values == {"last": {}, "best": {}}
    assert content.metrics == {} and quantities(content) == []


def test_two_runs_of_one_seed_are_both_counted(tmp_path):
    for name in ("a", "b"):
        stored_run(tmp_path / name, "ce", 0)
    (group,) = content_of_runs(find_runs(tmp_path)).groups
    assert group.values["last"]["top1"]["n"] == 2 and len(group.values["last"]["top1"]["values"]) == 2


def test_curves_have_the_mean_and_the_range_of_the_seeds(runs):
    content = content_of_runs(find_runs(runs))
    by_name = {quantity.name: quantity for quantity in quantities(content)}
    assert list(by_name) == ["top1", "loss", "ece", "train_loss"]
    ce = epoch_curves(content, by_name["top1"])[0]
    values = [values_of(2, seed, 0.0)["top1"] for seed in range(3)]
    assert (ce.mean[2], ce.low[2], ce.high[2]) == (pytest.approx(sum(values) / 3), min(values), max(values))


def test_over_confidence_is_a_share_of_the_samples(runs):
    content = content_of_runs(find_runs(runs))
    found = confidence_quantities(content)
    assert [one.name for one in found] == ["confidence_above_0.99", "confidence_above_0.9", "gradient_norm"]
    assert epoch_curves(content, found[0])[0].mean == [0.0, 10.0, 20.0, 30.0]
    assert epoch_curves(content, found[2])[0].mean == [1.0, 0.5, 1 / 3, 0.25]


def test_bins_of_several_seeds_are_added_up():
    one = {"count": [0, 4, 2], "confidence": [None, 0.5, 0.9], "accuracy": [None, 0.25, 1.0]}
    other = {"count": [0, 0, 6], "confidence": [None, None, 0.7], "accuracy": [None, None, 0.5]}
    assert merged_bins([one, other]) == [(0.5, 0.25, 4), (pytest.approx(0.75), pytest.approx(0.625), 8)]
    assert merged_bins([]) == []


def test_the_evaluation_of_validate_py_gives_reliability_and_risk(runs):
    evaluated(runs / "ce-0")
    content = content_of_runs(find_runs(runs))
    (reliability,) = reliabilities(content, "best", "reliability")
    assert reliability.confidence == [0.3, 0.5, 0.7, 0.9] and reliability.share == [0.1, 0.1, 0.3, 0.5]
    (risk,) = risk_curves(content, "best")
    assert risk.x == [50.0, 100.0] and risk.mean == [2.0, 10.0]
    assert content.groups[0].values["best"]["aurc"]["values"] == {"0": 0.05}


def test_a_run_of_an_older_version_has_a_page():
    content = content_of_runs([OLD_RUN])
    assert content.groups[0].label == "ols+sosr" and content.groups[0].values["last"]["top1"]["n"] == 1


def test_a_comparison_is_shown_with_its_own_values():
    content, (found, records) = content_of_comparison(COMPARISON), load_comparison(COMPARISON)
    assert [group.label for group in content.groups] == [one["loss"] for one in found["losses"]]
    for group, one in zip(content.groups, found["losses"], strict=True):
        assert group.values == {"last": one["last"], "best": one["best"]}
    assert content.summary == found["summary"] and content.notes == found["notes"]
    assert content.baseline == found["baseline"] and len(content.runs) == len(records)
    assert reliabilities(content, "last", "reliability_scaled") and risk_curves(content, "last")
    assert confidence_quantities(content)


def test_runs_of_a_comparison_that_are_under_way_are_in_its_curves(tmp_path):
    copy = shutil.copytree(COMPARISON, tmp_path / "results")
    before = content_of_comparison(copy)
    found = json.loads((copy / "comparison.json").read_text())
    found["complete"], found["losses"][1]["status"] = False, "incomplete"
    (copy / "comparison.json").write_text(json.dumps(found))
    full_form = before.groups[1].full_form
    stored_run(tmp_path / "runs" / "known", full_form, seed=0, done=1)
    stored_run(tmp_path / "runs" / "new", full_form, seed=7, done=2)
    stored_run(tmp_path / "runs" / "other", "something else", seed=7, done=2)
    content = content_of_comparison(copy)
    assert [(run.group, run.seed, run.state) for run in content.runs if run.state != "complete"] == [
        ("ls", 7, "2 of 4 epochs")
    ]
    assert content.groups[1].values == before.groups[1].values
    curves = {curve.index: curve for curve in epoch_curves(content, quantities(content)[0])}
    assert curves[1].n[:3] == [3, 3, 2] and curves[0].n[:3] == [2, 2, 2]
    assert len(watched([copy])) == 5


@pytest.mark.parametrize("file", ["run.json", "options.yaml", "result.json", "evaluation.json", "confidence.csv"])
def test_a_damaged_file_of_a_run_is_one_line(tmp_path, file):
    folder = evaluated(stored_run(tmp_path / "run"))
    (folder / file).write_text("{" if file != "confidence.csv" else "epoch,samples\n0,many\n")
    with pytest.raises(UserError) as caught:
        content_of_runs([folder])
    assert str(caught.value).startswith(f"{folder} cannot be read (") and "\n" not in str(caught.value)


def test_folders_without_runs_are_refused(tmp_path):
    with pytest.raises(UserError, match="does not exist"):
        find_runs(tmp_path / "gone")
    with pytest.raises(UserError, match="holds no run"):
        find_runs(tmp_path)
    (tmp_path / "loop").symlink_to(tmp_path)
    with pytest.raises(UserError, match="holds no run"):
        find_runs(tmp_path)


def test_curves_of_held_out_images_are_said_to_be_so(tmp_path):
    copy = shutil.copytree(COMPARISON, tmp_path / "results")
    found = json.loads((copy / "comparison.json").read_text())
    assert content_of_comparison(copy).notes == found["notes"]
    found["data"]["test_images"] = 10
    (copy / "comparison.json").write_text(json.dumps(found))
    assert "Metrics over the epochs are of the held-out images" in content_of_comparison(copy).notes[-1]


def test_the_commands_of_a_comparison_train_its_runs_again():
    commands = [run.command for run in content_of_comparison(COMPARISON).runs]
    assert commands[0].startswith("sosr-train --config ") and "--loss ce " in commands[0] and len(set(commands)) == 6
    assert training_command("train.py --loss ce") == "train.py --loss ce"


@pytest.mark.parametrize("damage", [{"losses": [{}]}, {"losses": [1]}, {"metrics": {"top1": 3}}, {"data": []}])
def test_a_comparison_with_a_damaged_report_is_one_line(tmp_path, damage):
    copy = shutil.copytree(COMPARISON, tmp_path / "results")
    found = json.loads((copy / "comparison.json").read_text())
    (copy / "comparison.json").write_text(json.dumps({**found, **damage}))
    with pytest.raises(UserError, match=r"comparison\.json: "):
        content_of_comparison(copy)


def test_a_comparison_with_a_damaged_record_is_one_line(tmp_path):
    copy = shutil.copytree(COMPARISON, tmp_path / "results")
    record = sorted((copy / "runs").iterdir())[0]
    record.write_text(json.dumps({"format": 1}))
    with pytest.raises(UserError, match=record.name):
        content_of_comparison(copy)
