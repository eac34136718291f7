"""The reference of all options, docs/options.md, from their declarations: python -m tools.options_page"""

from __future__ import annotations

import sys
from typing import Any

from sosr_timm.analysis.main import ANALYSES
from sosr_timm.analysis.registry import own_groups
from sosr_timm.options.analysis import SharedOptions
from sosr_timm.options.compare import OwnOptions
from sosr_timm.options.detection import DetectionOptions
from sosr_timm.options.fields import TRAINING, Option, options_of
from sosr_timm.options.inference import ExportOptions, PredictOptions
from sosr_timm.options.page import PageOptions
from sosr_timm.options.train import TrainOptions
from sosr_timm.options.validate import ValidateOptions
from sosr_timm.text import markdown_table
from tools.checkout import ROOT
from tools.generated import run_writer

PAGE = ROOT / "docs" / "options.md"
COLUMNS = ("flag", "takes", "default", "meaning")
PROGRAMS = {"train.py": TrainOptions, "validate.py": ValidateOptions}
COMMANDS = {
    "sosr-predict": PredictOptions,
    "sosr-export": ExportOptions,
    "sosr-compare": OwnOptions,
    "sosr-detect": DetectionOptions,
    "sosr-page": PageOptions,
    "sosr-analyze": SharedOptions,
}  # timm has no flags of these
ANALYZE = {f"sosr-analyze {name}": own_groups(ANALYSES[name]) for name in ANALYSES}
SECTIONS = {name: groups for name, groups in {**PROGRAMS, **COMMANDS, **ANALYZE}.items() if options_of(groups)}
PREFACE = """\
# Options

Written by `python -m tools.options_page`; do not edit.

Every option is a flag and, with underscores, a key of a YAML file given as `--config FILE`. The command line beats the
file, the file beats the default. An unknown name, a value of the wrong type or one out of its range is an error of one
line. `--no-FLAG` takes back what a file switched on, and `null` in a file switches an option
off. `--help` prints this list.

Names and defaults are those of timm's training script wherever timm has the option. Options marked with * may change
when a run is resumed; all others must be as they were.
"""


def page() -> str:
    """The text of docs/options.md."""
    return PREFACE + "".join(section(program, groups) for program, groups in SECTIONS.items())


def section(program: str, groups: type) -> str:
    """The options of one program, a table for each group."""
    rows: dict[str, list[tuple[str, ...]]] = {}
    for option in options_of(groups).values():
        rows.setdefault(option.group, []).append(cells(option, marks=program in ("train.py", "sosr-detect")))
    tables = (f"\n\n### {group}\n\n{markdown_table(COLUMNS, found)}" for group, found in rows.items())
    return f"\n## {program}{''.join(tables)}\n"


def cells(option: Option, marks: bool) -> tuple[str, ...]:
    """A row of a table; `marks` adds the star of what may change on resume."""
    names = ", ".join(f"`{name}`" for name in (option.flag, *option.also))
    if option.positional:
        names += " or bare"
    star = " *" if marks and option.scope != TRAINING else ""
    return (names + star, takes(option), written(option.default), option.help)


def takes(option: Option) -> str:
    """The type and the range of the value that follows the flag."""
    kind = option.kind
    if option.choices:
        return " ".join(f"`{choice}`" for choice in option.choices if choice != "")
    if kind.pairs:
        return "key=value ..."
    word = {str: "text", int: "integer", float: "number", bool: "nothing"}[kind.scalar]
    if kind.many:
        word = f"{kind.count} {word}s" if kind.count else f"{word}s"
    if option.const is not None:
        word += f", or nothing for `{option.const}`"
    return f"{word}, {option.limits}" if option.limits else word


def written(value: Any) -> str:
    """A default as the command line would have it; empty where there is none."""
    if value is None or value == "" or value == () or value == {}:
        return ""
    if isinstance(value, bool):
        return "on" if value else "off"
    if isinstance(value, tuple):
        return "`" + " ".join(number(item) for item in value) + "`"
    return f"`{number(value)}`"


def number(value: Any) -> str:
    """A value as text, fractions with six digits."""
    return f"{value:.6g}" if isinstance(value, float) else str(value)


if __name__ == "__main__":
    sys.exit(run_writer(PAGE, page, __doc__))
