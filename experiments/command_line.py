"""The command line of `python -m experiments`."""

from __future__ import annotations

import argparse
import sys
from pathlib import Path
from typing import Any, NoReturn

from sosr_timm.errors import UserError
from sosr_timm.options.fields import KeyValue, options_of
from sosr_timm.options.load import read_command_line
from sosr_timm.options.ranges import Range
from sosr_timm.options.train import TrainOptions
from sosr_timm.registry import close_names
from sosr_timm.runner.executors import EXECUTORS, HERE
from sosr_timm.runner.jobs import Places
from tools.checkout import ROOT, shown

RESULTS, OUTPUT = ROOT / "results", ROOT / "output" / "experiments"
COMMANDS = ("list", "run", "status", "report")
TRAINING = options_of(TrainOptions)
RANGES = {
    "seeds": Range(1, 1_000),
    "epochs": TRAINING["epochs"].allowed,
    "samples": TRAINING["train_num_samples"].allowed,
    "jobs": Range(1, 256),
}
# Options of train.py that the runner sets.
OURS = ("config", "seed", "output", "experiment", "resume", "stop_epoch", "loss", "smoothing")


class _Parser(argparse.ArgumentParser):
    def error(self, message: str) -> NoReturn:
        raise UserError(message)


def absolute_path(path: str) -> Path:
    """The absolute path: the runner changes to the checkout, where the runs start."""
    return Path(path).absolute()


def make_parser() -> argparse.ArgumentParser:
    """The commands and what each of them takes."""
    parser = _Parser(prog="python -m experiments", description="The papers' tables as runs.", allow_abbrev=False)
    commands = parser.add_subparsers(dest="command", metavar="|".join(COMMANDS))
    common = argparse.ArgumentParser(add_help=False)
    common.add_argument("--results", type=absolute_path, default=RESULTS, help="folder of records (default results/)")
    listing = commands.add_parser(
        "list", help="list the tables and how many of their runs are done", parents=[common], allow_abbrev=False
    )
    listing.set_defaults(table="all")
    report = commands.add_parser(
        "report", help="write docs/results.md and its plots", parents=[common], allow_abbrev=False
    )
    report.add_argument("table", nargs="?", default="all", help="print this table instead")
    run = commands.add_parser("run", help="run what is missing of a table", parents=[common], allow_abbrev=False)
    status = commands.add_parser("status", help="show how far a table is", parents=[common], allow_abbrev=False)
    run.add_argument("table", help="name of a file of experiments/")
    status.add_argument("table", help="name of a file of experiments/, or all")
    for command in (run, status):
        command.add_argument("--only", nargs="+", default=[], metavar="WORD", help="rows with these values")
        command.add_argument("--seeds", type=int, help="runs of each row (default: as in the table)")
        command.add_argument("--data", help="reduced run: another data set")
        command.add_argument("--epochs", type=int, help="reduced run: another number of epochs")
        command.add_argument("--samples", type=int, help="reduced run: train on this many samples")
        command.add_argument("--output", type=absolute_path, default=OUTPUT, help="default: output/experiments/")
    run.add_argument("--data-dir", type=absolute_path, help="folder of the data set")
    run.add_argument("--jobs", type=int, help="runs at a time (default: one for each GPU, or each core)")
    run.add_argument(
        "--launcher",
        default="",
        help="command that starts train.py (default: this Python)",
    )
    run.add_argument("--executor", choices=EXECUTORS, default=HERE, help="processes of this machine, or jobs of Slurm")
    run.add_argument(
        "--slurm", nargs="+", action=KeyValue, default={}, metavar="KEY=VALUE", help="of each job: timeout_min=240 ..."
    )
    run.add_argument("--dry-run", action="store_true", help="print the commands and the number of epochs and images")
    return parser


def read_arguments(words: list[str]) -> tuple[argparse.Namespace, dict[str, Any]]:
    """The parsed command line, and the options of train.py after `--`, by name.

    Raises:
        UserError: an unknown command or flag (with the nearest), or a number below 1.
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
    for name, allowed in RANGES.items():
        value = getattr(parsed, name, None)
        if value is not None and value not in allowed:
            raise UserError(f"--{name} must be {allowed}, not {value}")
    if extra and parsed.command not in ("run", "status"):
        raise UserError(f"{parsed.command} takes no options of train.py")
    return parsed, read_command_line(TrainOptions, extra) if extra else {}


def changes_of(parsed: argparse.Namespace, extra: dict[str, Any]) -> dict[str, Any]:
    """The options of train.py that this command overrides, by name.

    Raises:
        UserError: one that the runner or the table sets, or one that is given twice.
    """
    for name in extra:
        if name in OURS:
            raise UserError(f"--{name.replace('_', '-')} after -- is set by the runner and the table; remove it")
    given = {"dataset": parsed.data, "epochs": parsed.epochs, "train_num_samples": parsed.samples}
    folder = getattr(parsed, "data_dir", None)
    given["data_dir"] = shown(folder) if folder else None
    given = {name: value for name, value in given.items() if value is not None}
    twice = given.keys() & extra.keys()
    if twice:
        raise UserError(f"{', '.join(sorted(twice))}: given both before and after --")
    folders = {name: shown(absolute_path(extra[name])) for name in ("data", "data_dir") if extra.get(name)}
    return {**given, **extra, **folders}


def places_of(parsed: argparse.Namespace) -> Places:
    """The folders of records and runs."""
    return Places(output=getattr(parsed, "output", OUTPUT), results=parsed.results)
