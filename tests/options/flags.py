"""What the code declares and what timm has, as comparable facts."""

import ast
from pathlib import Path
from typing import Any, NamedTuple

import yaml

import sosr_timm
from sosr_timm.analysis.main import ANALYSES
from sosr_timm.analysis.registry import own_groups
from sosr_timm.options.analysis import SharedOptions
from sosr_timm.options.compare import OwnOptions
from sosr_timm.options.detection import DetectionOptions
from sosr_timm.options.fields import Option, options_of
from sosr_timm.options.inference import ExportOptions, PredictOptions
from sosr_timm.options.page import PageOptions
from sosr_timm.options.train import TrainOptions
from sosr_timm.options.validate import ValidateOptions

HERE = Path(__file__).parent
FIXTURES = HERE.parent / "fixtures"
PROGRAMS = {"train": TrainOptions, "validate": ValidateOptions}  # timm has scripts of these names
ALL_PROGRAMS = {
    **PROGRAMS,
    "predict": PredictOptions,
    "export": ExportOptions,
    "compare": OwnOptions,
    "detect": DetectionOptions,
}
ALL_PROGRAMS |= {"analyze": SharedOptions, "page": PageOptions}
# What an analysis has beside those.
ALL_PROGRAMS |= {
    f"analyze_{name}": own_groups(ANALYSES[name]) for name in ANALYSES if options_of(own_groups(ANALYSES[name]))
}
PACKAGE = Path(sosr_timm.__file__).parent


def declared(program: str) -> dict[str, Option]:
    return options_of(ALL_PROGRAMS[program])


def describe(option: Option) -> str:
    """One line: flag and its other spellings, type, default, whether a resumed run may change it, choices or range."""
    kind = option.kind
    words = "key=value" if kind.pairs else kind.scalar.__name__
    words += f"[{kind.count or '+'}]" if kind.many else ""
    words += " or null" if kind.optional else ""
    names = " ".join((option.flag, *option.also)) + (f" {option.name}" if option.positional else "")
    line = f"{names} | {words} | {option.default!r} | {option.scope}"
    line += f" | alone: {option.const}" if option.const is not None else ""
    line += f" | {', '.join(map(repr, option.choices))}" if option.choices else ""
    return line + (f" | {option.limits}" if option.limits else "")


class TimmFlag(NamedTuple):
    """What timm's parser says of one flag."""

    names: tuple[str, ...]
    type: str
    default: Any
    many: bool
    const: Any


def timm_flags(program: str) -> dict[str, TimmFlag]:
    """timm's flags by each of their spellings ("--batch-size", "-b")."""
    rows = yaml.safe_load((FIXTURES / "timm_flags.yaml").read_text(encoding="utf-8"))[program]
    flags = {}
    for row in rows:
        names = (row["flag"], *row.get("also", ()))
        many = row.get("nargs") in ("+", "*") or isinstance(row.get("nargs"), int)
        # YAML 1.1 reads 2e-05 as a text.
        default = row["default"]
        if row["type"] == "float" and isinstance(default, str):
            default = float(default)
        flags |= dict.fromkeys(names, TimmFlag(names, row["type"], default, many, row.get("const")))
    return flags


def names_read_outside_options() -> set[tuple[str, str]]:
    """(thing, attribute) of every `thing.attribute` and `a.thing.attribute` that the package reads."""
    found = set()
    for path in sorted(PACKAGE.rglob("*.py")):
        if "options" in path.relative_to(PACKAGE).parts:
            continue
        for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
            if isinstance(node, ast.Attribute) and isinstance(node.ctx, ast.Load):
                thing = node.value
                name = thing.id if isinstance(thing, ast.Name) else getattr(thing, "attr", "")
                found.add((name, node.attr))
    return found
