"""timm's flags of the loss mean what the keywords of --loss mean, and say so where they contradict each other."""

import json

import pytest
import torch
from timm.loss import create_classification_loss

from sosr_timm.errors import UserError
from sosr_timm.options.load import load
from sosr_timm.options.train import TrainOptions
from sosr_timm.setup.loss import loss_spec, make_loss, resolve_smoothing

MANY = ("--task", "multilabel")
# Flags, the same as one --loss, the same as arguments of timm's factory.
SAME = {
    "default": ([], "ls", {"loss_type": "ce", "smoothing": 0.1}),
    "bce with timm's smoothing": (["--bce-loss"], "bce(smoothing=0.1)", {"loss_type": "bce", "smoothing": 0.1}),
    "bce": (["--bce-loss", "--smoothing", "0"], "bce", {"loss_type": "bce"}),
    "bce with all": (
        ["--bce-loss", "--bce-sum", "--bce-target-thresh", "0.2", "--bce-pos-weight", "3", "--smoothing", "0.1"],
        "bce(sum=True, target_thresh=0.2, pos_weight=3.0)",
        {"loss_type": "bce", "bce_sum": True, "bce_target_thresh": 0.2, "pos_weight": 3.0, "smoothing": 0.1},
    ),
    "class weights": (
        ["--loss", "bce", "--class-weights", "1,2,3,4", "--smoothing", "0"],
        "bce(class_weight=[1.0, 2.0, 3.0, 4.0])",
        {"loss_type": "bce", "class_weight": [1.0, 2.0, 3.0, 4.0]},
    ),
    "poly": (
        ["--loss", "poly", "--poly-epsilon", "1"],
        "poly(epsilon=1.0)",
        {"loss_type": "poly", "poly_epsilon": 1.0},
    ),
    "asl": (
        ["--loss", "asl", "--asl-gamma-pos", "0", "--asl-gamma-neg", "2"],
        "asl(gamma_pos=0.0, gamma_neg=2.0)",
        {"loss_type": "asl", "asl_gamma_pos": 0.0, "asl_gamma_neg": 2.0},
    ),
    "many labels": (MANY, "bce", {"multi_label": True}),
    "many labels, asl": (
        [*MANY, "--loss", "asl", "--asl-clip", "0.1", "--asl-reduction", "mean", "--loss-pos-weight", "2"],
        "asl(clip=0.1, reduction='mean', pos_weight=2.0)",
        {"loss_type": "asl", "multi_label": True, "asl_clip": 0.1, "asl_reduction": "mean", "pos_weight": 2.0},
    ),
    "many labels, poly": (
        [*MANY, "--loss", "poly", "--poly-gamma", "1", "--poly-alpha", "0.3"],
        "poly(gamma=1.0, alpha=0.3)",
        {"loss_type": "poly", "multi_label": True, "poly_gamma": 1.0, "poly_alpha": 0.3},
    ),
    "many labels, twoway": (
        [*MANY, "--loss", "twoway", "--twoway-tp", "2", "--twoway-tn", "3"],
        "twoway(tp=2.0, tn=3.0)",
        {"loss_type": "twoway", "multi_label": True, "twoway_tp": 2.0, "twoway_tn": 3.0},
    ),
}


def loss_of(*arguments):
    options = load(TrainOptions, [str(argument) for argument in arguments]).options
    return make_loss(options.loss, options.task, 4, mixed=False)


def batch(multi_label):
    generator = torch.Generator().manual_seed(0)
    logits = torch.randn(6, 4, generator=generator)
    target = torch.randint(4, (6,), generator=generator)
    return logits, (torch.rand(6, 4, generator=generator) > 0.5).float() if multi_label else target


@pytest.mark.parametrize("case", SAME)
def test_flags_keywords_and_timms_arguments_are_the_same_loss(case):
    flags, text, arguments = SAME[case]
    loss = loss_of(*flags)
    task = [word for word in flags if word in MANY]
    smoothing = flags[flags.index("--smoothing") :][:2] if "--smoothing" in flags else []
    assert loss.full_form == loss_of("--loss", text, *task, *smoothing).full_form
    logits, target = batch(loss.multi_label)
    smoothed = {"smoothing": loss.smoothing, **arguments}
    torch.testing.assert_close(loss(logits, target), create_classification_loss(**smoothed)(logits, target))


def test_class_stats_give_counts_and_weights(tmp_path):
    path = tmp_path / "stats.json"
    path.write_text(json.dumps({"pos_counts": [8, 2, 4, 1], "num_samples": 16}))
    found = loss_of(*MANY, "--loss", "db", "--class-stats", path, "--db-neg-scale", "3", "--db-focal-gamma", "1")
    logits, target = batch(True)
    theirs = create_classification_loss(
        "db", True, class_counts=[8, 2, 4, 1], num_samples=16, db_neg_scale=3.0, db_focal_gamma=1.0
    )
    torch.testing.assert_close(found(logits, target), theirs(logits, target))
    found = loss_of(*MANY, "--class-stats", path, "--loss-pos-weight", "neg_pos")
    assert found.spec.base.keywords["pos_weight"] == [1.0, 7.0, 3.0, 15.0]
    counted = loss_of(*MANY, "--class-stats", path, "--class-weights", "inv_freq").spec.base.keywords["class_weight"]
    assert len(counted) == 4 and counted[3] == max(counted) == pytest.approx(8 * counted[0])


def test_smoothing_is_timms_without_a_loss_and_none_for_many_labels():
    for arguments, expected in (
        ([], 0.1),
        (["--bce-loss"], 0.1),
        (["--loss", "ce"], 0.0),
        (["--loss", "bce"], 0.0),
        (["--loss", "poly"], 0.0),
        (["--loss", "ce", "--smoothing", "0.1"], 0.1),
        (["--loss", "bce+sosr"], 0.0),
        (MANY, 0.0),
        ([*MANY, "--smoothing", "0.2"], 0.2),
    ):
        options = load(TrainOptions, list(arguments)).options
        assert resolve_smoothing(options.loss, options.task) == expected


@pytest.mark.parametrize(
    ("arguments", "full_form"),
    [
        ([], "ce(smoothing=0.1)"),
        (["--loss", "ce"], "ce(smoothing=0.0)"),
        (["--loss", "ls"], "ce(smoothing=0.1)"),
        (["--loss", "ls", "--smoothing", "0.1"], "ce(smoothing=0.1)"),
        (["--loss", "ls(smoothing=0.2)+cp"], "ce(smoothing=0.2)+cp(weight=0.1)"),
        (["--loss", "ce", "--smoothing", "0.3"], "ce(smoothing=0.3)"),
    ],
)
def test_what_is_written_is_trained(arguments, full_form):
    assert loss_of(*arguments).full_form == full_form


@pytest.mark.parametrize(("loss", "smoothing"), [("ce", 0.0), (None, 0.1)])
def test_yaml_files_mean_the_same(loss, smoothing, tmp_path):
    path = tmp_path / "recipe.yaml"
    text = f"loss: {loss}\n" if loss else "epochs: 2\n"
    path.write_text(text)
    assert loss_of("--config", path).smoothing == smoothing
    path.write_text(f"{text}smoothing: 0.1\n")  # as timm's args.yaml has it
    assert loss_of("--config", path).smoothing == 0.1


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["--bce-loss", "--loss", "sosr"], r"--bce-loss contradicts --loss 'sosr', .* write --loss 'bce\+sosr\("),
        (["--poly-epsilon", "1"], "--poly-epsilon has no effect on the loss 'ce'"),
        (["--loss", "sosr", "--bce-sum"], "--bce-sum has no effect on the loss 'ce'"),
        (["--loss", "poly(epsilon=1.0)", "--poly-epsilon", "1"], r"poly\(epsilon=...\) in --loss mean the same"),
        (["--loss", "asl", "--bce-pos-weight", "2"], "Did you mean --loss-pos-weight"),
        (["--bce-loss", "--bce-pos-weight", "2", "--loss-pos-weight", "2"], "mean the same"),
        (["--bce-loss", "--class-weights", "1,x"], "--class-weights 1,x"),
        (["--bce-loss", "--class-weights", "1,2"], "--loss 'bce'"),
        (["--bce-loss", "--class-weights", "inv_freq"], "requires class stats"),
        (["--class-stats", "missing.json"], "--class-stats missing.json"),
        (["--task", "multilabel", "--loss", "sosr"], "sosr is defined for single-label targets only"),
        (["--task", "multilabel", "--loss", "ce"], "ce is defined for single-label targets only"),
        (["--loss", "twoway"], "requires multi-label targets"),
        (["--loss", "ls", "--smoothing", "0.2"], r"smoothing is 0.2 as an argument and 0.1 in ce\(smoothing=...\)"),
        (["--loss", "ls+maxsup"], "maxsup takes the place of label smoothing"),
    ],
)
def test_contradictions_are_one_line(arguments, message):
    with pytest.raises(UserError, match=message) as caught:
        loss_of(*arguments)
    assert "\n" not in str(caught.value)


def test_class_stats_that_nothing_uses_are_refused(tmp_path):
    (tmp_path / "stats.json").write_text(json.dumps({"pos_counts": [1, 2, 3, 4], "num_samples": 10}))
    options = load(TrainOptions, ["--class-stats", str(tmp_path / "stats.json")]).options
    with pytest.raises(UserError, match="nothing uses it"):
        loss_spec(options.loss, options.task)


def test_timms_defaults_for_another_loss_say_nothing(tmp_path):
    path = tmp_path / "args.yaml"
    path.write_text("loss: null\nbce_loss: true\npoly_epsilon: 2.0\nasl_clip: 0.05\ndb_neg_scale: 2.0\n")
    options = load(TrainOptions, ["--config", str(path)]).options
    assert loss_spec(options.loss, options.task).base.name == "bce"
    path.write_text("bce_loss: true\npoly_epsilon: 1.0\n")
    options = load(TrainOptions, ["--config", str(path)]).options
    with pytest.raises(UserError, match="--poly-epsilon has no effect on the loss 'bce'"):
        loss_spec(options.loss, options.task)
