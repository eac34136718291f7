"""The plan of a comparison: what is compared, what is refused, what may change when it continues."""

import dataclasses
import json

import pytest

from sosr_timm.comparison.data import look_at_data
from sosr_timm.comparison.main import prepare, run_comparison
from sosr_timm.comparison.plan import PLAN, load_plan, make_plan, save_plan
from sosr_timm.errors import UserError
from sosr_timm.options.compare import CompareOptions, seconds_of
from sosr_timm.options.load import load
from tests.data.images import class_folders

DIGITS = ("--config", "digits", "--epochs", "2", "--train-num-samples", "256")


def loaded(*words):
    return load(CompareOptions, [str(word) for word in words])


def plan_of(*words):
    return make_plan(loaded(*DIGITS, *words))[0]


def test_the_first_loss_is_the_baseline_and_grids_add_their_losses():
    plan = plan_of("--losses", "ce", "sosr", "--grid", "sosr(beta=0.1,0.5)", "--seeds", "3")
    assert [one.loss for one in plan.losses] == ["ce", "sosr", "sosr(beta=0.1)"]
    # beta 0.5 is the default: its runs serve --losses and the grid.
    assert [one.grid for one in plan.losses] == ["", "sosr(beta=0.1,0.5)", "sosr(beta=0.1,0.5)"]
    assert [one.listed for one in plan.losses] == [True, True, False]
    assert (plan.baseline, plan.losses[0].seeds, plan.epochs) == ("ce", 3, 2)


def test_a_given_baseline_comes_first():
    assert [one.loss for one in plan_of("--losses", "ce", "ls", "--baseline", "ls").losses] == ["ls", "ce"]


def test_options_of_training_are_kept_and_those_of_the_machine_are_not():
    plan = plan_of("--losses", "ce", "sosr", "--workers", "3", "--lr", "0.1", "--data-dir", "/somewhere/else")
    assert plan.options["lr"] == 0.1
    assert not {"workers", "data_dir", "record_confidence"} & plan.options.keys()


@pytest.mark.parametrize(
    ("words", "message"),
    [
        (("--losses", "ce", "sosrr"), "unknown loss 'sosrr'.*did you mean 'sosr'"),
        (("--losses", "ce"), "two losses or more"),
        (("--losses", "ce", "ls", "ce(smoothing=0.1)"), "the same loss"),
        (("--losses", "ce", "ls", "--baseline", "ols"), "--baseline ols is none of"),
        (("--losses", "ce", "ls", "--seed", "3"), "--seed: --seeds says"),
        (("--losses", "ce", "ls", "--smoothing", "0.2"), "--smoothing: write label smoothing as a loss"),
        (("--losses", "ce", "ls", "--loss", "ce"), "--loss: --losses names"),
        (("--losses", "ce", "ls", "--resume", "auto"), "continues by itself"),
        (("--losses", "ce", "ls", "--early-stop-losers"), "add --select-on"),
        (("--losses", "ce", "ls", "--select-by", "loss"), "no effect without --select-on"),
        (("--losses", "ce", "ls", "--select-on", "0.1", "--val-fraction", "0.1"), "give --select-on alone"),
        (("--losses", "ce", "ls", "--task", "multilabel"), "one class per image"),
        (("--losses", "ce", "ls", "--budget", "2 hours"), "--budget must be a time"),
        (("--losses", "ce", "ls", "--seedz", "2"), "unknown option '--seedz'"),
    ],
)
def test_what_cannot_be_compared_is_refused_in_one_line(words, message):
    with pytest.raises(UserError, match=f"(?i){message}"):
        plan_of(*words)


def test_no_data_is_refused():
    with pytest.raises(UserError, match="which images"):
        make_plan(loaded("--losses", "ce", "ls"))


def test_a_comparison_continues_with_the_same_options_and_with_more_losses_and_seeds(tmp_path):
    words = (*DIGITS, "--output", tmp_path, "--losses")
    study = prepare(loaded(*words, "ce", "ls", "--seeds", "2"))
    save_plan(study.plan, study.places.results)
    assert prepare(loaded(*words, "ce", "ls", "--seeds", "2", "--workers", "1")).plan == study.plan
    more = prepare(loaded(*words, "ce(smoothing=0.0)", "sosr", "--seeds", "3")).plan
    assert [(one.loss, one.seeds) for one in more.losses] == [("ce", 3), ("ls", 2), ("sosr", 3)]
    with pytest.raises(UserError, match=r"other options: lr is 0\.05 there, not 0\.01"):
        prepare(loaded(*words, "ce", "ls", "--lr", "0.01"))
    with pytest.raises(UserError, match="other options: train_num_samples is 256 there, not 300"):
        prepare(loaded(*words, "ce", "ls", "--train-num-samples", "300"))


def test_other_images_are_refused(tmp_path):
    words = (*DIGITS, "--output", tmp_path, "--losses", "ce", "ls")
    study = prepare(loaded(*words))
    changed = dataclasses.replace(study.plan, data={**study.plan.data, "digest": "0" * 16})
    save_plan(changed, study.places.results)
    with pytest.raises(UserError, match="a comparison on other images"):
        prepare(loaded(*words))


def test_a_damaged_plan_is_refused(tmp_path):
    (tmp_path / PLAN).write_text(json.dumps({"format": 1, "losses": 3}))
    with pytest.raises(UserError, match="not the plan of a comparison"):
        load_plan(tmp_path)


def test_the_name_of_the_current_directory_is_that_of_its_path(tmp_path, monkeypatch):
    (tmp_path / "flowers").mkdir()
    monkeypatch.chdir(tmp_path / "flowers")
    words = ("--losses", "ce", "ls", "--model", "resnet18", "--data-dir")
    assert [make_plan(loaded(*words, path))[0].name for path in (".", "../flowers/", "x/shapes")] == [
        "flowers-resnet18",
        "flowers-resnet18",
        "shapes-resnet18",
    ]


def test_a_report_of_what_was_never_started_is_refused_and_nothing_is_written(tmp_path):
    with pytest.raises(UserError, match="holds no comparison to report"):
        run_comparison(loaded(*DIGITS, "--output", tmp_path, "--losses", "ce", "ls", "--report"))
    assert not list(tmp_path.iterdir())


def test_a_damaged_record_is_named_in_one_line(tmp_path):
    study = prepare(loaded(*DIGITS, "--output", tmp_path, "--losses", "ce", "ls"))
    record = study.jobs()[0].record
    record.parent.mkdir(parents=True)
    record.write_text("{")
    with pytest.raises(UserError, match=f"{record.name}: not JSON"):
        study.jobs()


def test_a_plan_comes_back_from_its_file(tmp_path):
    plan = plan_of("--losses", "ce", "sosr", "--select-on", "0.2", "--select-by", "loss")
    save_plan(plan, tmp_path)
    assert load_plan(tmp_path) == plan
    assert plan.options["eval_metric"] == "loss"


def test_a_class_without_images_is_named(tmp_path):
    class_folders(tmp_path, splits=("train", "validation"))
    for path in (tmp_path / "train" / "cat").iterdir():
        path.unlink()
    words = ("--data-dir", tmp_path, "--model", "cifar_resnet20", "--losses", "ce", "ls")
    given = loaded(*words)
    with pytest.raises(UserError, match=r"class directory .*cat is empty"):
        look_at_data(given, make_plan(given)[0])


def test_a_class_that_holding_out_leaves_without_images_is_named(tmp_path):
    class_folders(tmp_path, splits=("train", "validation"), each=2)
    given = loaded("--data-dir", tmp_path, "--losses", "ce", "ls", "--select-on", "0.5", "--seeds", "1")
    with pytest.raises(UserError, match=r"no (training|held-out) images of class (cat|dog)"):
        look_at_data(given, make_plan(given)[0])


def test_fewer_held_out_images_than_seeds_are_refused(tmp_path):
    words = ("--losses", "ce", "ls", "--select-on", "0.1", "--seeds", "900", "--output", tmp_path)
    given = loaded("--config", "digits", *words)
    with pytest.raises(UserError, match="fewer than there are seeds"):
        look_at_data(given, make_plan(given)[0])


@pytest.mark.parametrize(("text", "seconds"), [("90s", 90), ("2h", 7200), ("1.5d", 129600), ("10min", 600)])
def test_budgets_are_times(text, seconds):
    assert seconds_of(text) == seconds
