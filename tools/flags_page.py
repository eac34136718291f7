"""Write docs/flags.md, which says how each flag of timm's two scripts is handled: python -m tools.flags_page"""

from __future__ import annotations

import sys
from typing import Any, NamedTuple

import yaml

from sosr_timm.options.fields import Option, options_of
from sosr_timm.options.load import differences_of, foreign_of, refusals_of
from sosr_timm.options.timm_flags import Foreign
from sosr_timm.text import markdown_table
from tools.checkout import ROOT
from tools.generated import run_writer
from tools.options_page import PROGRAMS, written

LIST = ROOT / "tests" / "fixtures" / "timm_flags.yaml"
PAGE = ROOT / "docs" / "flags.md"
COLUMNS = ("flag", "timm's default", "here", "meaning, or why not")
SAME, DIFFERENT, OTHER_NAME, FOREIGN = "same", "different", "other name", "no option"
REFUSED, MISSING = "refused", "missing"
STATUSES = (SAME, DIFFERENT, OTHER_NAME, FOREIGN, REFUSED, MISSING)
PREFACE = """\
# timm's flags

Written by `python -m tools.flags_page` from the list of timm's flags (1.0.31) and the options of this
project; do not edit. [options.md](options.md) has the options that timm does not have.

- **same**: timm's name and meaning; where the default differs, both are shown.
- **different**: timm's name and another meaning; what it means in timm is shown too. A run that uses one whose results
  would differ says so at its start.
- **other name**: here it is spelled differently.
- **no option**: the flag is read and has no effect, or is read as another option. A line says which.
- **refused**: the flag ends the program with exit code 2 and the line shown.
- **missing**: not supported.

Flags may be abbreviated as long as they are unambiguous, as in timm.

The `args.yaml` that timm writes beside a run is a `--config` here, whichever version wrote it. A flag that is no option
or refused passes in silence while the file has timm's default. `null` switches an option off.

The samples of a step are a function of seed, epoch and step for any number of processes, the augmentation of an image
is a function of seed, epoch, image and copy, and a run resumes exactly at any step. timm's loader has another order and
other random numbers, so a run here and the same run by timm's train.py see other batches. With the same initial weights
and the same batches in the same order, without timm's prefetcher (`--no-prefetcher`), and with the loss computed by
torch's own operations (`SOSR_TIMM_KERNEL=plain`), gradients and weights are equal to timm's bit for bit on the CPU.
"""


class TimmFlag(NamedTuple):
    """A flag of timm's.

    Attributes:
        names: its spellings.
        default: timm's; None also where the list does not say.
    """

    names: tuple[str, ...]
    default: Any


class Row(NamedTuple):
    """What becomes of a flag of timm's."""

    flag: TimmFlag
    status: str
    note: str


def timm_flags() -> dict[str, list[TimmFlag]]:
    """timm's flags by program; what release notes add is among those of train.py, each flag once."""
    content = yaml.safe_load(LIST.read_text(encoding="utf-8"))
    flags = {
        f"{program}.py": [TimmFlag((row["flag"], *row.get("also", ())), _default(row)) for row in content[program]]
        for program in ("train", "validate")
    }
    known = {name for flag in flags["train.py"] for name in flag.names}
    for row in content["added_by_1_0_31"]:
        flags["train.py"] += [TimmFlag((name,), None) for name in row["flag"].split() if name not in known]
    return flags


def _default(row: dict[str, Any]) -> Any:
    # YAML 1.1 reads 2e-05 as a text.
    value = row["default"]
    return float(value) if row["type"] == "float" and isinstance(value, str) else value


def rows(program: str) -> list[Row]:
    """What becomes of each of timm's flags in a program of this project."""
    groups = PROGRAMS[program]
    options = list(options_of(groups).values())
    by_flag = {option.flag: option for option in options}
    by_other = {name: option for option in options for name in option.also}
    bare = next((option for option in options if option.positional), None)
    refused, foreign, different = refusals_of(groups), foreign_of(groups), differences_of(groups)
    result = []
    for flag in timm_flags()[program]:
        first = next((by_flag[name] for name in flag.names if name in by_flag), None)
        other = next((by_other[name] for name in flag.names if name in by_other), None)
        name = flag.names[0].lstrip("-").replace("-", "_")
        if not flag.names[0].startswith("-"):
            row = Row(flag, SAME if bare.name == flag.names[0] else OTHER_NAME, f"the bare argument: {bare.help}")
        elif first is not None and first.name in different:
            row = Row(flag, DIFFERENT, f"{_compared(first, flag)}. In timm: {different[first.name].timm}")
        elif first is not None:
            row = Row(flag, SAME, _compared(first, flag))
        elif other is not None:
            row = Row(flag, OTHER_NAME, f"`{other.flag}`: {_compared(other, flag)}")
        elif name in foreign:
            row = Row(flag, FOREIGN, explained(foreign[name]))
        elif name in refused:
            row = Row(flag, REFUSED, refused[name].reason)
        else:
            row = Row(flag, MISSING, "")
        result.append(row)
    return result


def explained(flag: Foreign) -> str:
    """What becomes of a flag that is no option."""
    return f"read as `{flag.means}`: {flag.reason}" if flag.becomes else f"no effect: {flag.reason}"


def older_flags(program: str) -> dict[str, Foreign]:
    """What older versions of timm have and the list does not, by flag."""
    listed = {name for flag in timm_flags()[program] for name in flag.names}
    found = {f"--{name.replace('_', '-')}": flag for name, flag in foreign_of(PROGRAMS[program]).items()}
    return {name: flag for name, flag in found.items() if name not in listed and name.replace("-", "_") not in listed}


def _compared(option: Option, flag: TimmFlag) -> str:
    ours = list(option.default) if isinstance(option.default, tuple) else option.default
    if ours == flag.default or flag.default is None:
        return option.help
    shown = written(ours if not isinstance(ours, list) else tuple(ours)) or "none"
    return f"{option.help}; default {shown} here"


def page() -> str:
    """The text of docs/flags.md."""
    text = PREFACE
    for program in PROGRAMS:
        lines = rows(program)
        counts = {status: sum(row.status == status for row in lines) for status in STATUSES}
        summary = ", ".join(f"{count} {status}" for status, count in counts.items() if count)
        text += f"\n## {program}\n\n{len(lines)} flags: {summary}.\n\n"
        text += markdown_table(COLUMNS, [cells(row) for row in lines])
        older = [(f"`{name}`", explained(flag)) for name, flag in older_flags(program).items()]
        text += f"\n\nFlags of older versions:\n\n{markdown_table(('flag', 'here'), older)}\n"
    return text


def cells(row: Row) -> tuple[str, ...]:
    """A row of a table."""
    names = ", ".join(f"`{name}`" for name in row.flag.names)
    default = row.flag.default
    return (names, written(tuple(default) if isinstance(default, list) else default), row.status, row.note)


if __name__ == "__main__":
    sys.exit(run_writer(PAGE, page, __doc__))
