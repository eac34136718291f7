"""Options from a YAML file and a command line: strict, the command line beats the file, a typo gets a suggestion."""

from __future__ import annotations

import argparse
import dataclasses
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any, Generic, NoReturn, TypeVar

from sosr_timm.errors import UserError
from sosr_timm.options.config_file import read_mapping
from sosr_timm.options.fields import COMMAND_LINE, Option, options_of
from sosr_timm.options.loss_words import as_loss
from sosr_timm.options.recipes import find_config
from sosr_timm.options.timm_flags import Difference, Foreign, Refusal, take_over
from sosr_timm.registry import close_names

Groups = TypeVar("Groups")
# What is in the groups of options, for --help.
GROUPS = {
    "data": "which images, and who loads them",
    "model": "which model, and how it computes",
    "optimizer": "updates and batches",
    "schedule": "how long, and the learning rate",
    "augmentation": "how training images are changed and mixed",
    "task": "labels and distillation",
    "sizes": "training at several image sizes",
    "loss": "what is minimized; every loss is listed at the end",
    "run": "seed, files, resuming, log",
    "report": "what is printed and written",
    "comparison": "which losses, how many seeds, what is chosen on what; all options of train.py hold for every run",
}
MOST_MATCHES = 6  # of an abbreviation that a message lists


@dataclasses.dataclass
class Loaded(Generic[Groups]):
    """Options and where they came from.

    Attributes:
        options: the groups, with every value.
        config: what the YAML file gave, by name.
        command_line: what the command line gave, by name.
        notes: what to say of flags of timm that have no effect here, or are read as other options.
    """

    options: Groups
    config: dict[str, Any]
    command_line: dict[str, Any]
    notes: list[str] = dataclasses.field(default_factory=list)


class _Parser(argparse.ArgumentParser):
    appendix: Callable[[int], str] | None = None  # made when somebody asks for --help, because it imports the losses

    def format_help(self) -> str:
        text = super().format_help()
        width = shutil.get_terminal_size().columns - 2  # as argparse does
        return f"{text}\n{self.appendix(width)}" if self.appendix else text

    def error(self, message: str) -> NoReturn:
        short, _, matches = message.removeprefix("ambiguous option: ").partition(" could match ")
        if matches:
            flags = matches.split(", ")
            listed = ", ".join(flags[:MOST_MATCHES]) + (", ..." if len(flags) > MOST_MATCHES else "")
            message = f"ambiguous option '{short.partition('=')[0]}': it may be short for {listed}"
        raise UserError(message)


def make_parser(groups: type, description: str) -> argparse.ArgumentParser:
    """The command line of a dataclass of option groups, abbreviations allowed as timm's allows them."""
    config = "[--config FILE] " if "config" in options_of(groups) else ""
    parser = _Parser(description=description, usage=f"%(prog)s {config}[options]")
    parser.appendix = getattr(groups, "appendix", None)
    sections: dict[str, Any] = {}
    for option in options_of(groups).values():
        if option.group not in sections:
            sections[option.group] = parser.add_argument_group(option.group, GROUPS.get(option.group))
        option.add_to(sections[option.group])
    for name, flag in foreign_of(groups).items():
        words: dict[str, Any] = {"action": "store_true"} if flag.nargs == 0 else {}
        if flag.nargs == "+":
            words["nargs"] = "+"
        spellings = (f"--{name.replace('_', '-')}", f"--{name}")
        parser.add_argument(
            *dict.fromkeys(spellings), dest=name, default=argparse.SUPPRESS, help=argparse.SUPPRESS, **words
        )
    return parser


def read_command_line(groups: type, arguments: list[str], description: str = "") -> dict[str, Any]:
    """What a command line gives, by option name; `load` also tells what has no effect.

    Raises:
        UserError: see `_parse`.
    """
    return _parse(groups, arguments, description)[0]


def _parse(groups: type, arguments: list[str], description: str) -> tuple[dict[str, Any], list[str]]:
    """What a command line gives, by option name, and what to say of timm's flags among it.

    Raises:
        UserError: an unknown flag (with the nearest known one), one of timm's that does not fit (with the reason), or a
            value of the wrong type.
    """
    options = options_of(groups)
    parsed, unknown = make_parser(groups, description).parse_known_args(arguments)
    listed = next((name for name, option in options.items() if option.positional and option.kind.many), None)
    if listed and not any(word.startswith("-") and word != "-" for word in unknown):
        # argparse takes bare words from one place only: those after a flag are left over.
        bare = [*getattr(parsed, f"{listed}_positional", ()), *unknown]
        if bare:
            setattr(parsed, f"{listed}_positional", bare)
        unknown = []
    if unknown:
        flags = [name for option in options.values() for name in (option.flag, *option.also)]
        word = unknown[0].split("=")[0]
        refusal = refusals_of(groups).get(word.lstrip("-").replace("-", "_"))
        if refusal:
            raise UserError(f"{word}: {refusal.reason}")
        loss = as_loss(word) if "loss" in options and word.startswith("--") else ""
        hint = f"did you mean {loss}?" if loss else _nearest(word, flags)
        raise UserError(f"unknown option '{word}': {hint}")
    values, notes = take_over(vars(parsed), foreign_of(groups))
    for option in options.values():
        bare = values.pop(f"{option.name}_positional", None)
        if bare is not None:
            if values.get(option.name, bare) != bare:
                raise UserError(f"{option.name} is given twice: {bare} and {option.flag} {values[option.name]}")
            values[option.name] = bare
    return {name: options[name].check(value, COMMAND_LINE) for name, value in values.items()}, notes


def refusals_of(groups: type) -> dict[str, Refusal]:
    """The flags of timm that a program knows and does not take, by name."""
    return getattr(groups, "refused", {})


def foreign_of(groups: type) -> dict[str, Foreign]:
    """The flags of timm that a program reads and that are no options, by name."""
    return getattr(groups, "foreign", {})


def differences_of(groups: type) -> dict[str, Difference]:
    """What options mean in timm where they mean something else here, by name."""
    return getattr(groups, "different", {})


def _nearest(word: str, names: list[str]) -> str:
    """The close names, or where all of them can be read: a wrong guess is worse than none."""
    text = close_names(word, names, cutoff=0.72)
    return text if text.startswith("did") else "--help lists them all"


def read_config(groups: type, path: str | Path) -> dict[str, Any]:
    """What a YAML file gives, by option name; hyphens and underscores are the same, and so are a flag's spellings.

    Raises:
        UserError: see `_read`.
    """
    return _read(groups, path)[0]


def _read(groups: type, path: str | Path) -> tuple[dict[str, Any], list[str]]:
    """What a YAML file gives, by option name, and what to say of timm's flags among it.

    Raises:
        UserError: no such file, no mapping in it, an unknown key (with the nearest known one) or a wrong type.
    """
    content, notes = take_over(read_mapping(path), foreign_of(groups), str(path))
    return check_values(options_of(groups), content, str(path), refusals_of(groups)), notes


def check_values(
    options: dict[str, Option],
    content: dict,
    where: str,
    refused: dict[str, Refusal] | None = None,
    ranges: bool = True,
) -> dict[str, Any]:
    """`content` with every key known, every value of its kind and in its range.

    Args:
        options: that are known.
        content: keys and values as read.
        where: they were read, for messages.
        refused: flags of timm that are left out where they have timm's default and ask for nothing.
        ranges: check ranges too; not for the stored options of a run, which was trained with them.

    Raises:
        UserError: an unknown key (with the nearest known one), a key given twice, a wrong type, a value out of range,
            or a refused flag.
    """
    values: dict[str, Any] = {}
    spellings = {other: option.name for option in options.values() for other in option.keys}
    for key, value in content.items():
        name = str(key).replace("-", "_")
        name = spellings.get(name, name)
        refusal = (refused or {}).get(name)
        if refusal and value == refusal.default and type(value) is type(refusal.default):
            continue
        if refusal:
            raise UserError(f"{where}: {key}: {refusal.reason}")
        if name not in options:
            raise UserError(f"{where}: unknown option '{key}': {_nearest(name, list(options))}")
        if name in values:
            raise UserError(f"{where}: option '{name}' is given twice")
        values[name] = options[name].check(value, where, ranges)
    return values


def build(groups: type[Groups], values: dict[str, Any]) -> Groups:
    """The groups from values by name; what is not named has its default."""
    known = options_of(groups)
    result = groups()
    for name, value in values.items():
        setattr(getattr(result, known[name].group), name, value)
    return result


def flatten(options: Any) -> dict[str, Any]:
    """Every value by name, as JSON and YAML can hold it (tuples become lists)."""
    found = options_of(type(options))
    return {name: plain(getattr(getattr(options, option.group), name)) for name, option in found.items()}


def plain(value: Any) -> Any:
    """An option's value as JSON and YAML hold it: tuples become lists, at any depth."""
    if isinstance(value, dict):
        return {key: plain(item) for key, item in value.items()}
    return [plain(item) for item in value] if isinstance(value, (list, tuple)) else value


def other_meanings(options: Any) -> list[str]:
    """A line for each option that is used and means something else in timm."""
    known, values = options_of(type(options)), flatten(options)
    return [
        f"{known[name].flag} {values[name]}: {known[name].help}. In timm: {different.timm}"
        for name, different in differences_of(type(options)).items()
        if different.said and values[name] != plain(known[name].default)
    ]


def load(groups: type[Groups], arguments: list[str], description: str = "") -> Loaded[Groups]:
    """Defaults < the YAML file that --config names < the command line.

    Raises:
        UserError: see `read_command_line` and `read_config`.
    """
    command_line, notes = _parse(groups, arguments, description)
    path = command_line.get("config")
    config, others = _read(groups, find_config(path)) if path else ({}, [])
    return Loaded(build(groups, {**config, **command_line}), config, command_line, [*notes, *others])
