"""A suggestion is right or is not made; names match without regard to case; --help lists every loss."""

import pytest

from sosr_timm.data.sources.catalog import DATASETS
from sosr_timm.errors import UserError
from sosr_timm.losses.base import BASES, PENALTIES
from sosr_timm.losses.spec import parse_loss
from sosr_timm.options.load import load, make_parser
from sosr_timm.options.train import TrainOptions
from sosr_timm.options.validate import ValidateOptions


@pytest.mark.parametrize(
    ("flag", "expected"),
    [
        ("--beta", '--loss "sosr(beta=...)"?'),
        ("--threshold", '--loss "sosr(threshold=...)"?'),
        ("--sosr", "did you mean --loss sosr?"),
        ("--SOSR", "did you mean --loss sosr?"),
        ("--epochz", "did you mean '--epochs'?"),
        ("--thresh-hold", "--help lists them all"),
        ("--gammon", "--help lists them all"),
    ],
)
def test_a_flag_of_the_loss_grammar_is_shown_where_it_belongs(flag, expected):
    with pytest.raises(UserError) as error:
        load(TrainOptions, [flag, "1"])
    assert expected in str(error.value)
    assert "--tta" not in str(error.value)


def test_a_program_without_a_loss_does_not_speak_of_one():
    with pytest.raises(UserError) as error:
        load(ValidateOptions, ["--beta", "1"])
    assert "--loss" not in str(error.value)


def test_names_match_without_regard_to_case():
    arguments = ["--loss", "SOSR", "--dataset", "CIFAR100", "--model", "ResNet50", "--sched", "Cosine"]
    options = load(TrainOptions, [*arguments, "--clip-mode", "AGC"]).options
    assert (options.data.dataset, options.model.model) == ("cifar100", "resnet50")
    assert (options.schedule.sched, options.optimizer.clip_mode) == ("cosine", "agc")
    assert "cifar100" in DATASETS
    assert str(parse_loss("CE+SOSR(beta=1.0)")) == str(parse_loss("ce+sosr(beta=1.0)"))


@pytest.mark.parametrize("name", ["hf-hub:Org/Model", "local-dir:/A/Path", "hfds/Org/Set", "torch/CIFAR10"])
def test_identifiers_and_paths_keep_their_case(name):
    options = load(TrainOptions, ["--dataset" if "/" in name and ":" not in name else "--model", name]).options
    assert name in (options.data.dataset, options.model.model)


def test_help_groups_the_options_and_lists_every_loss_with_its_keywords():
    text = make_parser(TrainOptions, "x").format_help()
    for group in ("data:\n  which images", "schedule:\n  how long", "loss:\n  what is minimized"):
        assert group in text
    for name in [*BASES, *PENALTIES]:
        assert name in text
    assert "threshold=0.99, beta=0.5" in text
    assert "threshold=0.99" not in make_parser(ValidateOptions, "x").format_help()
