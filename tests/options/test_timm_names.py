"""Flags that we share with timm have its type, its default and its spellings, but for what is written here."""

import pytest

from tests.options.flags import PROGRAMS, declared, timm_flags

# Deliberate differences: (program, option) -> why.
OTHER_DEFAULT = {
    ("train", "smoothing"): "None tells 'not given' from 0.1: without --loss it is 0.1, and --loss is taken as written",
    ("train", "output"): "timm's empty text means output/train as well; ours shows it",
    ("train", "checkpoint_hist"): "a checkpoint holds everything that resuming needs, so ten of them fill a disk",
    ("train", "device"): "Accelerate finds the accelerator, or takes the CPU where timm's cuda would not start",
    ("validate", "device"): "Accelerate finds the accelerator, or the CPU where there is none",
    ("validate", "model"): "what is evaluated may be a run folder, which knows its model",
    ("validate", "batch_size"): "a run folder knows its batch size; timm's 256 holds for everything else",
    ("validate", "results_format"): "the record of a run is JSON everywhere in this project",
}
TYPES = {"switch": bool, "str": str, "int": int, "float": float, "key=value...": dict}


def shared(program):
    flags = timm_flags(program)
    for option in declared(program).values():
        name = option.name if option.positional and option.name in flags else option.flag
        if name in flags:
            yield option, flags[name]


@pytest.mark.parametrize("program", PROGRAMS)
def test_type_and_count_are_timms(program):
    for option, theirs in shared(program):
        ours = dict if option.kind.pairs else option.kind.scalar
        assert ours is TYPES[theirs.type], option.name
        assert (option.kind.many or option.kind.pairs) == theirs.many, option.name
        assert option.const == theirs.const, option.name


@pytest.mark.parametrize("program", PROGRAMS)
def test_default_is_timms_or_the_difference_has_a_reason(program):
    for option, theirs in shared(program):
        default = list(option.default) if isinstance(option.default, tuple) else option.default
        if (program, option.name) in OTHER_DEFAULT:
            assert default != theirs.default, f"{option.name} is listed as different and is not"
        else:
            assert default == theirs.default, f"{option.name}: ours {default!r}, timm's {theirs.default!r}"


@pytest.mark.parametrize("program", PROGRAMS)
def test_every_spelling_of_timm_is_known(program):
    for option, theirs in shared(program):
        missing = set(theirs.names) - {option.flag, *option.also, option.name}
        assert not missing, f"{option.flag} is also spelled {missing} in timm"


def test_most_of_timms_training_flags_are_there():
    assert sum(1 for _ in shared("train")) >= 100
    assert {name for program, name in OTHER_DEFAULT if program == "train"} <= set(declared("train"))
