"""Every flag is written down, reaches its option, and is read somewhere."""

import argparse

import pytest

from sosr_timm.options.fields import FREE, THIS_START, TRAINING, flag, options_of
from sosr_timm.options.load import make_parser
from tests.options.flags import ALL_PROGRAMS, HERE, declared, describe, names_read_outside_options


@pytest.mark.parametrize("program", ALL_PROGRAMS)
def test_the_flags_are_the_committed_ones(program):
    path = HERE / f"{program}_flags.txt"
    lines = [describe(option) for option in declared(program).values()]
    committed = path.read_text(encoding="utf-8").splitlines()
    assert lines == committed, (
        f"the flags of {program}.py changed: people's scripts and YAML files depend on them; if it is meant, write the "
        f"new list with `python -m tests.options.write_flags` and say so in the change log"
    )


@pytest.mark.parametrize("program", ALL_PROGRAMS)
def test_every_option_is_read_by_the_package(program):
    reads = names_read_outside_options()
    # `options.model.amp`, `model.amp`, and `options.amp` in a function that takes one group.
    dead = [
        name
        for name, option in declared(program).items()
        if not any((thing, name) in reads for thing in (option.group, "options", "run"))
    ]
    assert not dead, f"nothing reads {dead}"


@pytest.mark.parametrize("program", ALL_PROGRAMS)
def test_every_option_says_what_it_does(program):
    for option in declared(program).values():
        assert len(option.help) >= 5 and "\n" not in option.help, option.name
        assert option.scope in (TRAINING, FREE, THIS_START), option.name


@pytest.mark.parametrize("program", ALL_PROGRAMS)
def test_every_default_is_a_value_that_the_option_takes(program):
    for option in declared(program).values():
        again = option.check(option.default, "default")
        assert again == option.default, option.name


@pytest.mark.parametrize("program", ALL_PROGRAMS)
def test_help_lists_every_flag_with_its_default(program, capsys):
    parser = make_parser(ALL_PROGRAMS[program], "Train an image classifier")
    with pytest.raises(SystemExit) as stopped:
        parser.parse_args(["--help"])
    assert stopped.value.code == 0
    text = " ".join(capsys.readouterr().out.split())
    assert "Train an image classifier" in text
    for option in declared(program).values():
        assert f"{option.flag} " in text, option.name
        assert " ".join(option.help.split()) in text, option.name
    if "amp_dtype" in declared(program):
        assert "--amp-dtype {float16,bfloat16}" in text
    if program == "train":
        assert "learning rate at lr-base-size samples per update (default 0.1; at least 0)" in text
        assert "random resized crop (default 0.75 1.333; each from 0.01 to 100, values that do not fall)" in text
        assert "warm-up (default 1e-05; at least 0)" in text


def test_help_fits_a_terminal(monkeypatch):
    monkeypatch.setenv("COLUMNS", "100")
    lines = make_parser(ALL_PROGRAMS["train"], "x").format_help().splitlines()
    assert max(len(line) for line in lines) <= 100
    assert not any("==SUPPRESS==" in line for line in lines)


def test_two_groups_with_one_name_are_refused():
    from dataclasses import dataclass, field

    @dataclass
    class One:
        lr: float = flag(0.1, "a rate")

    @dataclass
    class Both:
        first: One = field(default_factory=One)
        second: One = field(default_factory=One)

    Both.__annotations__ = {"first": One, "second": One}
    One.__annotations__ = {"lr": float}
    with pytest.raises(ValueError, match="option 'lr' is in two groups"):
        options_of(Both)


def test_key_value_defaults_are_not_shared():
    first, second = ALL_PROGRAMS["train"](), ALL_PROGRAMS["train"]()
    first.model.model_kwargs["depth"] = 3
    assert second.model.model_kwargs == {}


def test_no_two_flags_are_spelled_alike():
    # argparse itself refuses a duplicate when the parser is made.
    for groups in ALL_PROGRAMS.values():
        assert isinstance(make_parser(groups, ""), argparse.ArgumentParser)
