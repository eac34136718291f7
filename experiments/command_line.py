"""The command line of `python -m experiments`."""

from __future__ import annotations

import argparse
import sys
from pathlib import Path
from typing import Any, NoReturn

from experiments.jobs import OUTPUT, RESULTS, Places
from sosr_timm.errors import UserError
from sosr_timm.options.load import read_command_line
from sosr_timm.options.train import TrainOptions
from sosr_timm.registry import close_names
from tools.checkout import shown

COMMANDS = ("list", "run", "status", "report")
# Options of train.py that the runner gives itself.
OURS = ("config", "seed", "output", "experiment", "resume", "stop_epoch", "loss", "smoothing")


class _Parser(argparse.ArgumentParser):
    def error(self, message: str) -> NoReturn:
        raise UserError(message)


def whole(path: str) -> Path:
    """A path that stays the same one when the runner goes to the checkout, where the runs start."""
    return Path(path).absolute()


def make_parser() -> argparse.ArgumentParser:
    """The commands and what each of them takes."""
    parser = _Parser(prog="python -m experiments", description="The papers' tables as runs.", allow_abbrev=False)
    commands = parser.add_subparsers(dest="command", metavar="|".join(COMMANDS))
    common = argparse.ArgumentParser(add_help=False)
    common.add_argument("--results", type=whole, default=RESULTS, help="folder of records (default results/)")
    listing = commands.add_parser(
        "list", help="the tables, how much of each is run", parents=[common], allow_abbrev=False
    )
    listing.set_defaults(table="all")
    report = commands.add_parser(
        "report", help="write docs/results.md and its figures", parents=[common], allow_abbrev=False
    )
    report.add_argument("table", nargs="?", default="all", help="print this table instead")
    run = commands.add_parser("run", help="run what is missing of a table", parents=[common], allow_abbrev=False)
    status = commands.add_parser("status", help="how far the runs of a table are", parents=[common], allow_abbrev=False)
    run.add_argument("table", help="name of a file of experiments/")
    status.add_argument("table", help="name of a file of experiments/, or all")
    for command in (run, status):
        command.add_argument("--only", nargs="+", default=[], metavar="WORD", help="rows with this model, method, ...")
        command.add_argument("--seeds", type=int, help="runs of each row, seeds from 0; the row's own where not given")
        command.add_argument("--data", help="another data set in place of the rows' own: a reduced run")
        command.add_argument("--epochs", type=int, help="other epochs than the recipe's: a reduced run")
        command.add_argument("--samples", type=int, help="train on this many samples: a reduced run")
        command.add_argument("--output", type=whole, default=OUTPUT, help="run folders (default output/experiments/)")
    run.add_argument("--data-dir", type=whole, help="folder of the data set")
    run.add_argument("--jobs", type=int, help="runs at a time: one a GPU, else one a core, at most 4")
    run.add_argument(
        "--launcher", default="", help="what starts train.py instead of this Python, several processes say"
    )
    run.add_argument("--dry-run", action="store_true", help="print the commands and what they amount to")
    return parser


def read_arguments(words: list[str]) -> tuple[argparse.Namespace, dict[str, Any]]:
    """What was asked for, and the options of train.py behind `--`, by name.

    Raises:
        UserError: an unknown command or flag (with the nearest), or a number that makes no sense.
    """
    before, extra = (words[: words.index("--")], words[words.index("--") + 1 :]) if "--" in words else (words, [])
    parser = make_parser()
    if before and not before[0].startswith("-") and before[0] not in COMMANDS:
        raise UserError(f"unknown command '{before[0]}': {close_names(before[0], COMMANDS)}")
    parsed, unknown = parser.parse_known_args(before)
    if parsed.command is None:
        parser.print_help(sys.stderr)
        raise UserError(f"give a command: {', '.join(COMMANDS)}")
    if unknown:
        flags = [f"--{name.replace('_', '-')}" for name in vars(parsed) if name not in ("command", "table")]
        raise UserError(f"{parsed.command}: unknown option '{unknown[0]}': {close_names(unknown[0], flags)}")
    for name in ("seeds", "epochs", "samples", "jobs"):
        value = getattr(parsed, name, None)
        if value is not None and value < 1:
            raise UserError(f"--{name} {value}: at least 1")
    if extra and parsed.command not in ("run", "status"):
        raise UserError(f"{parsed.command} takes no options of train.py")
    return parsed, read_command_line(TrainOptions, extra) if extra else {}


def changes_of(parsed: argparse.Namespace, extra: dict[str, Any]) -> dict[str, Any]:
    """The options of train.py that this command overrules, by name.

    Raises:
        UserError: one that the runner or the table sets, or one that is given twice.
    """
    for name in extra:
        if name in OURS:
            raise UserError(f"--{name.replace('_', '-')} behind -- is set by the runner and the table, not by hand")
    given = {"dataset": parsed.data, "epochs": parsed.epochs, "train_num_samples": parsed.samples}
    folder = getattr(parsed, "data_dir", None)
    given["data_dir"] = shown(folder) if folder else None
    given = {name: value for name, value in given.items() if value is not None}
    twice = given.keys() & extra.keys()
    if twice:
        raise UserError(f"{', '.join(sorted(twice))}: given both before and behind --")
    folders = {name: shown(whole(extra[name])) for name in ("data", "data_dir") if extra.get(name)}
    return {**given, **extra, **folders}


def places_of(parsed: argparse.Namespace) -> Places:
    """Where records and run folders lie."""
    return Places(output=getattr(parsed, "output", OUTPUT), results=parsed.results)
