"""timm's flags that do not fit: one line with the reason, silence where a YAML file holds timm's own default."""

import pytest
import yaml

from sosr_timm.distributed.processes import run_main
from sosr_timm.errors import UserError
from sosr_timm.options.load import load, read_command_line, read_config, refusals_of
from tests.options.flags import PROGRAMS, declared, timm_flags

EVERY = [(program, name) for program, groups in PROGRAMS.items() for name in refusals_of(groups)]


def arguments_of(program, name):
    """The flag as timm takes it, with a value that is not its default."""
    flag = next(flag for flag in timm_flags(program) if flag.lstrip("-").replace("-", "_") == name)
    theirs = timm_flags(program)[flag]
    values = {"switch": [], "int": ["3", "4"][: 1 + theirs.many], "float": ["0.5"], "str": ["none"]}
    return [flag, *values[theirs.type]]


@pytest.mark.parametrize(("program", "name"), EVERY)
def test_the_command_line_refuses_with_one_line_and_exit_code_2(program, name, capsys):
    given = arguments_of(program, name)
    reason = refusals_of(PROGRAMS[program])[name].reason
    for words in (given, ["folder", *given], [given[0] + "=" + ",".join(given[1:])]):
        assert run_main(lambda words=words: load(PROGRAMS[program], words)) == 2
        said = capsys.readouterr().err
        assert said.endswith(f"error: {given[0]}: {reason}\n") and said.count("\n") == 1
    with pytest.raises(UserError, match=r"--local-rank: the launcher tells"):
        read_command_line(PROGRAMS["train"], ["--local-rank=1"])


@pytest.mark.parametrize(("program", "name"), EVERY)
def test_a_file_may_hold_timms_default_and_nothing_else(program, name, tmp_path):
    flag = arguments_of(program, name)[0]
    default = timm_flags(program)[flag].default
    assert refusals_of(PROGRAMS[program])[name].default == default
    path = tmp_path / "args.yaml"
    path.write_text(yaml.safe_dump({name: default}))
    assert read_config(PROGRAMS[program], path) == {}
    path.write_text(yaml.safe_dump({name: [7]}))
    with pytest.raises(UserError) as caught:
        read_config(PROGRAMS[program], path)
    assert str(caught.value) == f"{path}: {name}: {refusals_of(PROGRAMS[program])[name].reason}"


@pytest.mark.parametrize("program", PROGRAMS)
def test_what_is_refused_is_no_option_and_the_way_out_is_one(program):
    for name, refusal in refusals_of(PROGRAMS[program]).items():
        assert name not in declared(program)
        assert "\n" not in refusal.reason and 20 < len(refusal.reason) < 200
