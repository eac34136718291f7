"""The shapes that an option's value can have, and how what YAML gives becomes such a value."""

from __future__ import annotations

import dataclasses
import reprlib
import types
import typing
from typing import Any

LARGEST_NUMBER = 2**63
DEEPEST_PAIRS = 10

_SHORT = reprlib.Repr()
_SHORT.maxlevel, _SHORT.maxstring, _SHORT.maxother, _SHORT.maxlong = 3, 80, 80, 80


def short(value: Any) -> str:
    """`value` as a message shows it, however large it is."""
    try:
        return _SHORT.repr(value)
    except ValueError:  # an integer of more digits than Python prints
        return f"a value of type {type(value).__name__} that is too long to print"


@dataclasses.dataclass(frozen=True)
class Kind:
    """The shape of an option's value: one of str, int, float, bool; one or many; whether None is a value; key=value."""

    scalar: type
    many: bool = False
    count: int | None = None
    optional: bool = False
    pairs: bool = False

    @property
    def name(self) -> str:
        if self.pairs:
            return "key=value pairs of numbers, texts, lists and mappings"
        words = {str: "a text", int: "a whole number", float: "a number", bool: "true or false"}[self.scalar]
        if self.many:
            words = f"a list of {self.count or 'any number of'} items, each {words}"
        return words + (" or null" if self.optional else "")

    @classmethod
    def of(cls, annotation: Any) -> Kind:
        """The kind that a field's annotation means (`int | None`, `tuple[float, ...]`, `dict[str, Any]`)."""
        optional = False
        if isinstance(annotation, types.UnionType) or typing.get_origin(annotation) is typing.Union:
            arguments = [argument for argument in typing.get_args(annotation) if argument is not type(None)]
            optional, annotation = True, arguments[0]
        origin = typing.get_origin(annotation)
        if origin is dict:
            return cls(str, pairs=True, optional=optional)
        if origin is tuple:
            arguments = typing.get_args(annotation)
            count = None if arguments[-1] is Ellipsis else len(arguments)
            return cls(arguments[0], many=True, count=count, optional=optional)
        return cls(annotation, optional=optional)

    def convert(self, value: Any) -> Any:
        """The option's value from what YAML or the command line gave.

        Raises:
            TypeError: the value is of another kind.
        """
        if value is None and self.optional:
            return None
        if self.pairs:
            if not isinstance(value, dict):
                raise TypeError
            return _storable(value)
        if self.many:
            if not isinstance(value, (list, tuple)) or (self.count and len(value) != self.count):
                raise TypeError
            return tuple(self._convert_scalar(item) for item in value)
        return self._convert_scalar(value)

    def _convert_scalar(self, value: Any) -> Any:
        # YAML 1.1 reads 1e-4 as a text; a number is meant.
        if self.scalar is float and isinstance(value, str):
            try:
                value = float(value)
            except ValueError:
                raise TypeError from None
        kinds = (int, float) if self.scalar is float else self.scalar
        if not isinstance(value, kinds) or isinstance(value, bool) != (self.scalar is bool):
            raise TypeError
        if not isinstance(value, str) and not abs(value) < LARGEST_NUMBER:  # nor is nan
            raise TypeError
        return float(value) if self.scalar is float else value


def _storable(value: Any, depth: int = 0) -> Any:
    """A value inside key=value pairs, of what YAML and JSON can hold; lists become tuples, as in every option.

    Raises:
        TypeError: it is of a type that cannot be stored with the run (a date, bytes, a set), or nested too deeply.
    """
    if depth > DEEPEST_PAIRS:
        raise TypeError
    if isinstance(value, dict):
        if not all(isinstance(key, str) for key in value):
            raise TypeError
        return {key: _storable(item, depth + 1) for key, item in value.items()}
    if isinstance(value, (list, tuple)):
        return tuple(_storable(item, depth + 1) for item in value)
    if isinstance(value, (int, float)) and abs(value) < LARGEST_NUMBER:
        return value
    if value is not None and not isinstance(value, str):
        raise TypeError
    return value
