"""What an option is: a dataclass field that is also a flag of the command line and a key of the YAML file."""

from __future__ import annotations

import argparse
import ast
import dataclasses
import functools
import typing
from typing import Any

from sosr_timm.errors import UserError
from sosr_timm.options.kinds import Kind, short
from sosr_timm.options.ranges import Form, Items, Range
from sosr_timm.registry import close_names

COMMAND_LINE = "command line"  # where a value was given, if not in a file

# An option that changes what is trained may not differ between a run and its resumption; a free one may, and is kept
# where it is not given anew; one of a single start is forgotten with that start.
TRAINING, FREE, THIS_START = "training", "free", "this start"


def flag(
    default: Any,
    help: str,
    *,
    also: tuple[str, ...] = (),
    choices: tuple | None = None,
    allowed: Range | Form | None = None,
    items: Items | None = None,
    const: Any = None,
    null: Any = None,
    positional: bool = False,
    scope: str = TRAINING,
    any_case: bool = False,
) -> Any:
    """A dataclass field that is also a flag.

    Args:
        default: value where nothing is given.
        help: one line for --help.
        also: other spellings of the flag ("-b").
        choices: the only values allowed.
        allowed: range of the value, of each item where it is a list.
        items: number and order of a list's items.
        const: value of the flag when it is given without one (`--torchcompile`).
        null: what null in a YAML file means, which switches off; by itself the default where that is off ("", 0).
        positional: also a bare argument of the command line.
        scope: TRAINING, or FREE for what may change when a run is resumed, or THIS_START for what holds once.
        any_case: a name that is matched without regard to case; one with '/' or ':' in it is a path or an identifier.
    """
    metadata = {
        "help": help,
        "also": also,
        "choices": choices,
        "allowed": allowed,
        "items": items,
        "const": const,
        "null": null,
        "positional": positional,
        "scope": scope,
        "any_case": any_case,
    }
    if isinstance(default, dict):
        return dataclasses.field(default_factory=lambda: dict(default), metadata=metadata)
    return dataclasses.field(default=default, metadata=metadata)


def same_flag(group: type, name: str, **changes: Any) -> Any:
    """A field of another group of options, for a program that shares it.

    Args:
        group: that declares it.
        name: of the field.
        **changes: to what `flag` was given: another default, help, choices, ...
    """
    field = group.__dataclass_fields__[name]
    default = field.default_factory() if field.default is dataclasses.MISSING else field.default
    return flag(**{"default": default, **field.metadata, **changes})


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
    allowed: Range | Form | None
    items: Items | None
    const: Any
    null: Any
    positional: bool
    scope: str
    any_case: bool = False

    @property
    def flag(self) -> str:
        return "--" + self.name.replace("_", "-")

    @property
    def keys(self) -> tuple[str, ...]:
        """The option's other spellings as keys of a YAML file."""
        return tuple(name[2:].replace("-", "_") for name in self.also if name.startswith("--"))

    @property
    def limits(self) -> str:
        """The range of the value in words; empty where every value of the kind is allowed."""
        each = f"each {self.allowed}" if self.kind.many and self.allowed else str(self.allowed or "")
        return ", ".join(filter(None, (each, str(self.items or ""))))

    def check(self, value: Any, where: str, ranges: bool = True) -> Any:
        """`value` converted to the option's kind.

        Args:
            value: as read.
            where: it was given, for the message: a file, or COMMAND_LINE.
            ranges: also check its range.

        Raises:
            UserError: of another kind, not among the choices, or out of range.
        """
        if value is None and not self.kind.optional:
            value = self.default if self.null is None and not self.default else self.null
        prefix, name = ("", self.flag) if where == COMMAND_LINE else (f"{where}: ", self.name)
        try:
            value = self.kind.convert(value)
        except TypeError:
            raise UserError(f"{prefix}{name} takes {self.kind.name}, not {short(value)}") from None
        if value is None:
            return value
        if self.any_case and not {"/", ":"} & set(value):
            value = value.lower()
        if self.choices and isinstance(value, str):
            value = {str(choice).lower(): choice for choice in self.choices}.get(value.lower(), value)
        if self.choices and value not in self.choices:
            near = close_names(str(value), [str(choice) for choice in self.choices])
            hint = f"; {near}" if near.startswith("did") else ""
            raise UserError(f"{prefix}{name} is one of {', '.join(map(repr, self.choices))}, not {short(value)}{hint}")
        if ranges:
            self._check_range(value, prefix, name)
        return value

    def _check_range(self, value: Any, prefix: str, name: str) -> None:
        each = "each value of " if self.kind.many else ""
        for item in value if self.kind.many else (value,):
            if self.allowed is not None and item not in self.allowed:
                raise UserError(f"{prefix}{each}{name} must be {self.allowed}, not {short(item)}")
        if self.items is not None and value not in self.items:
            raise UserError(f"{prefix}{name} must have {self.items}, not {' '.join(map(short, value))}")

    def add_to(self, parser: Any) -> None:
        """Declare the flag; absent from the parsed result unless it was given."""
        common: dict[str, Any] = {"dest": self.name, "default": argparse.SUPPRESS, "help": self._help_with_default()}
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
            parser.add_argument(*names, nargs="*", action=KeyValue, metavar="KEY=VALUE", **common)
            return
        common["type"] = self.kind.scalar
        common["metavar"] = f"{{{','.join(self.choices)}}}" if self.choices else self.name.upper()
        if self.kind.many:
            common["nargs"] = self.kind.count or "+"
        elif self.const is not None:
            common.update(nargs="?", const=self.const)
        parser.add_argument(*names, **common)
        if self.positional:
            parser.add_argument(
                f"{self.name}_positional",
                nargs="*" if self.kind.many else "?",
                default=argparse.SUPPRESS,
                help=self.help,
                metavar=self.name,
            )

    def _help_with_default(self) -> str:
        notes = []
        if self.default not in (None, "", False, (), {}):
            items = self.default if self.kind.many else (self.default,)
            words = [f"{item:.4g}" if self.kind.scalar is float else str(item) for item in items]
            notes.append(f"default {' '.join(words)}")
        if self.limits:
            notes.append(self.limits)
        return f"{self.help} ({'; '.join(notes)})" if notes else self.help


class KeyValue(argparse.Action):
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


@functools.cache
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
                raise ValueError(f"option '{field.name}' is in two groups")
            default = field.default_factory() if field.default is dataclasses.MISSING else field.default
            kind = Kind.of(hints[field.name])
            found[field.name] = Option(field.name, group.name, kind, default, **field.metadata)
    return found
