"""Every loss with its keywords, for --help: read from the registries, so that it is never out of date."""

from __future__ import annotations

import inspect
import textwrap
from collections.abc import Mapping

from sosr_timm.losses.base import BASES, PENALTIES
from sosr_timm.losses.spec import ALIASES, builder_of, default_term, is_our_term

INTRODUCTION = (
    "losses: --loss is BASE+PENALTY+..., each with keywords or without, such as 'ols+sosr(beta=1.0)'. A penalty alone "
    "means ce with it. Formulas, ranges and sources: docs/losses.md."
)


def list_losses(width: int = 80) -> str:
    """The bases and penalties with their keywords, defaults and a sentence each, in lines of `width` characters."""
    ours = [name for name in BASES if is_our_term(name)]
    timms = [name for name in BASES if not is_our_term(name)]
    lines = textwrap.wrap(INTRODUCTION, width)
    lines += ["", "bases, of which a loss has one:", *of_terms(ours, width)]
    for alias, (name, keywords) in ALIASES.items():
        lines += indented(f"{alias}, short for {name}({written(keywords)})", width, 2)
    lines += ["", "bases of timm:", *of_terms(timms, width)]
    lines += ["", "penalties:", *of_terms(list(PENALTIES), width)]
    return "\n".join(lines) + "\n"


def of_terms(names: list[str], width: int) -> list[str]:
    """For each term a line with its keywords, and below it what it is, as its docstring begins."""
    lines = []
    for name in names:
        lines += indented(f"{name}({written(default_term(name).keywords)})", width, 2)
        about = (inspect.getdoc(builder_of(name)) or "").split("\n\n")[0] if is_our_term(name) else ""
        lines += indented(about, width, 6)
    return lines


def written(keywords: Mapping[str, object]) -> str:
    return ", ".join(f"{key}={value!r}" for key, value in keywords.items())


def indented(text: str, width: int, indent: int) -> list[str]:
    return textwrap.wrap(text, width, initial_indent=" " * indent, subsequent_indent=" " * (indent + 2))
