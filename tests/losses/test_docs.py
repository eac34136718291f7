"""The examples of docs/losses.md run, and the names in it exist."""

import re
from pathlib import Path

import pytest

from sosr_timm.losses import BASES, PENALTIES, parse_loss
from sosr_timm.losses.keywords import keywords_of
from sosr_timm.losses.spec import builder_of
from tests.losses.cases import OUR_BASES

PAGE = (Path(__file__).resolve().parents[2] / "docs" / "losses.md").read_text()
EXAMPLES = re.findall(r"```python\n(.*?)```", PAGE, flags=re.DOTALL)
GRAMMAR = PAGE.split("## The grammar")[1].split("## ")[0]
SECTIONS = re.findall(r"^## `(\w+)`: (.*?)(?=^## )", PAGE, flags=re.DOTALL | re.MULTILINE)


@pytest.fixture
def registries():
    """What an example registers is gone after it."""
    before = [(registry, dict(registry._things)) for registry in (BASES, PENALTIES)]
    yield
    for registry, things in before:
        registry._things.clear()
        registry._things.update(things)


@pytest.mark.parametrize("number", range(len(EXAMPLES)))
def test_examples_run(number, registries):
    exec(compile(EXAMPLES[number], f"docs/losses.md, example {number}", "exec"), {})


@pytest.mark.parametrize("text", re.findall(r"^    (\S.*)$", GRAMMAR, flags=re.MULTILINE))
def test_grammar_examples_are_read(text):
    parse_loss(text)


def test_every_loss_of_ours_has_a_section():
    assert {name for name, _ in SECTIONS} == {*OUR_BASES, *PENALTIES}


@pytest.mark.parametrize("name, section", SECTIONS, ids=[name for name, _ in SECTIONS])
def test_keywords_and_defaults_are_listed(name, section):
    listed = dict(re.findall(r"^\| `(\w+)`[^|]*\| `?([^|`]+?)`? \|", section, flags=re.MULTILINE))
    actual = {key: repr(item.default) for key, item in keywords_of(builder_of(name)).items()}
    assert listed == actual
