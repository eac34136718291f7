"""The losses in --help: all of them, with the keywords and defaults that the grammar takes, within the width."""

import re

import pytest

from sosr_timm.losses import BASES, PENALTIES, create_loss
from sosr_timm.losses.listing import list_losses
from sosr_timm.losses.spec import ALIASES, default_term
from sosr_timm.options.load import make_parser
from sosr_timm.options.train import TrainOptions
from sosr_timm.options.validate import ValidateOptions


@pytest.mark.parametrize("width", [60, 80, 200])
def test_every_loss_is_listed_with_its_defaults(width):
    text = list_losses(width)
    assert all(len(line) <= width for line in text.splitlines())
    flat = re.sub(r"\s+", " ", text)
    for name in (*BASES, *PENALTIES):
        keywords = ", ".join(f"{key}={value!r}" for key, value in default_term(name).keywords.items())
        assert f" {name}({keywords})" in flat
    for alias in ALIASES:
        assert f"{alias}, short for" in flat


def test_a_line_of_the_list_is_a_loss():
    for written in re.findall(r"^  (\w+\(.*\))$", list_losses(500), flags=re.MULTILINE):
        if not written.startswith(("jsd", "twoway", "zlpr", "db")):  # they need a keyword, or many labels
            create_loss(written)


def test_help_of_train_ends_with_the_losses(monkeypatch):
    monkeypatch.setenv("COLUMNS", "100")
    assert make_parser(TrainOptions, "").format_help().endswith(list_losses(98))
    assert "penalties:" not in make_parser(ValidateOptions, "").format_help()
