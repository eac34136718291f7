"""Which keywords a term takes, read from its constructor, and whether a literal fits one."""

from __future__ import annotations

import inspect
import math
import types
import typing
from collections.abc import Callable, Sequence

LARGEST_INTEGER = 2**63 - 1
EXPECTED = {
    float: "a finite number",
    int: "an integer of at most 64 bits",
    bool: "True or False",
    str: "a string",
    type(None): "None",
}


def keywords_of(builder: Callable) -> dict[str, inspect.Parameter]:
    """The keywords of a term in the grammar: the positional parameters of its constructor, with defaults and types."""
    parameters = inspect.signature(builder, eval_str=True).parameters
    return {name: item for name, item in parameters.items() if item.kind is item.POSITIONAL_OR_KEYWORD}


def context_of(builder: Callable) -> set[str]:
    """What a term wants to know of its surroundings: the keyword-only parameters of its constructor."""
    parameters = inspect.signature(builder).parameters
    return {name for name, item in parameters.items() if item.kind is item.KEYWORD_ONLY}


def fit(value: object, annotation: object) -> object:
    """A literal as the type that a parameter is annotated with; an int becomes a float where a float is wanted.

    Args:
        value: what `ast.literal_eval` gave.
        annotation: float, int, bool, str, None, a sequence of floats, or a union of those.

    Raises:
        ValueError: it fits none; the message says what would.
    """
    members = union_members(annotation)
    # Exact types first, so that True is never taken for 1 nor 1 for 1.0 where an int is welcome.
    if type(value) in members and (type(value) not in (int, float) or is_finite_number(value)):
        return value
    if float in members and is_finite_number(value):
        return float(value)
    takes_many = any(is_sequence(member) for member in members)
    if takes_many and isinstance(value, (list, tuple)) and value and all(map(is_finite_number, value)):
        return [float(entry) for entry in value]
    wanted = [EXPECTED[member] for member in members if member in EXPECTED]
    wanted += ["a list of finite numbers"] if takes_many else []
    raise ValueError(f"must be {' or '.join(wanted)}")


def union_members(annotation: object) -> list:
    """float | None -> [float, NoneType]; a plain type -> [type]."""
    if typing.get_origin(annotation) in (typing.Union, types.UnionType):
        return list(typing.get_args(annotation))
    return [annotation]


def is_sequence(annotation: object) -> bool:
    return typing.get_origin(annotation) in (list, tuple, Sequence)


def is_finite_number(value: object) -> bool:
    if type(value) is int:
        return abs(value) <= LARGEST_INTEGER
    return type(value) is float and math.isfinite(value)
