"""What an option is: a dataclass field with its flag, its type, and how text or YAML becomes its value."""

from __future__ import annotations

import argparse
import ast
import dataclasses
import types
import typing
from typing import Any

from sosr_timm.errors import UserError

# An option that changes what is trained may not differ between a run and its resumption; these may.
TRAINING, FREE = "training", "free"


def flag(
    default: Any,
    help: str,
    *,
    also: tuple[str, ...] = (),
    choices: tuple | None = None,
    const: Any = None,
    positional: bool = False,
    scope: str = TRAINING,
) -> Any:
    """A dataclass field that is also a flag.

    Args:
        default: value where nothing is given.
        help: one line for --help.
        also: other spellings of the flag ("-b").
        choices: the only values allowed.
        const: value of the flag when it stands without one (`--torchcompile`).
        positional: also a bare argument of the command line.
        scope: TRAINING, or FREE for what may change when a run is resumed.
    """
    metadata = {
        "help": help,
        "also": also,
        "choices": choices,
        "const": const,
        "positional": positional,
        "scope": scope,
    }
    if isinstance(default, dict):
        return dataclasses.field(default_factory=lambda: dict(default), metadata=metadata)
    return dataclasses.field(default=default, metadata=metadata)


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
            return "key=value pairs"
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
        """The option's value from what YAML gave.

        Raises:
            TypeError: the value is of another kind.
        """
        if value is None and self.optional:
            return None
        if self.pairs:
            if not isinstance(value, dict) or not all(isinstance(key, str) for key in value):
                raise TypeError
            return dict(value)
        if self.many:
            if not isinstance(value, (list, tuple)) or (self.count and len(value) != self.count):
                raise TypeError
            return tuple(self._convert_scalar(item) for item in value)
        return self._convert_scalar(value)

    def _convert_scalar(self, value: Any) -> Any:
        if self.scalar is bool or isinstance(value, bool):
            if self.scalar is not bool or not isinstance(value, bool):
                raise TypeError
            return value
        if self.scalar is float:
            # YAML 1.1 reads 1e-4 as a text; a number is meant.
            if isinstance(value, str):
                try:
                    return float(value)
                except ValueError:
                    raise TypeError from None
            if not isinstance(value, (int, float)):
                raise TypeError
            return float(value)
        if not isinstance(value, self.scalar):
            raise TypeError
        return value


@dataclasses.dataclass(frozen=True)
class Option:
    """One option: its name, the group that holds it, its kind, and the field's metadata."""

    name: str
    group: str
    kind: Kind
    default: Any
    help: str
    also: tuple[str, ...]
    choices: tuple | None
    const: Any
    positional: bool
    scope: str

    @property
    def flag(self) -> str:
        return "--" + self.name.replace("_", "-")

    def check(self, value: Any, where: str) -> Any:
        """`value` converted to the option's kind.

        Raises:
            UserError: of another kind, or not among the choices; the line starts with `where`.
        """
        try:
            value = self.kind.convert(value)
        except TypeError:
            raise UserError(f"{where}: {self.name} takes {self.kind.name}, not {value!r}") from None
        if self.choices and value is not None and value not in self.choices:
            raise UserError(f"{where}: {self.name} is one of {', '.join(map(str, self.choices))}, not {value!r}")
        return value

    def add_to(self, parser: Any) -> None:
        """Declare the flag; absent from the parsed result unless it was given."""
        common: dict[str, Any] = {"dest": self.name, "default": argparse.SUPPRESS, "help": self.help}
        names = (self.flag, *self.also)
        if self.kind.scalar is bool:
            parser.add_argument(*names, action="store_true", **common)
            # The command line must be able to take back what a YAML file switched on.
            negative = "--" + self.flag[5:] if self.name.startswith("no_") else "--no-" + self.flag[2:]
            parser.add_argument(
                negative, action="store_false", dest=self.name, default=argparse.SUPPRESS, help=argparse.SUPPRESS
            )
            return
        if self.kind.pairs:
            parser.add_argument(*names, nargs="*", action=_KeyValue, metavar="KEY=VALUE", **common)
            return
        common["type"] = self.kind.scalar
        common["metavar"] = self.name.upper()
        if self.kind.many:
            common["nargs"] = self.kind.count or "+"
        elif self.const is not None:
            common.update(nargs="?", const=self.const)
        parser.add_argument(*names, **common)
        if self.positional:
            parser.add_argument(
                f"{self.name}_positional", nargs="?", default=argparse.SUPPRESS, help=self.help, metavar=self.name
            )


class _KeyValue(argparse.Action):
    """`a=1 b=(2,3) c=word` into a dict; a value that is no Python literal stays a text, as in timm."""

    def __call__(self, parser, namespace, values, option_string=None):
        pairs = {}
        for pair in values:
            key, equals, text = pair.partition("=")
            if not equals or not key:
                parser.error(f"{option_string}: '{pair}' is not KEY=VALUE")
            try:
                pairs[key] = ast.literal_eval(text)
            except (ValueError, SyntaxError, MemoryError, RecursionError):
                pairs[key] = text
        setattr(namespace, self.dest, pairs)


def options_of(groups: type) -> dict[str, Option]:
    """Every option of a dataclass whose fields are option groups, by name.

    Raises:
        ValueError: two groups hold an option of the same name.
    """
    found: dict[str, Option] = {}
    for group in dataclasses.fields(groups):
        group_type = typing.get_type_hints(groups)[group.name]
        hints = typing.get_type_hints(group_type)
        for field in dataclasses.fields(group_type):
            if field.name in found:
                raise ValueError(f"option '{field.name}' stands in two groups")
            default = field.default_factory() if field.default is dataclasses.MISSING else field.default
            kind = Kind.of(hints[field.name])
            found[field.name] = Option(field.name, group.name, kind, default, **field.metadata)
    return found
