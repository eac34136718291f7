"""A run's folder: its options, its log as lines and as a table, its checkpoints."""

from __future__ import annotations

import fcntl
import json
import os
import re
import socket
from pathlib import Path
from typing import IO, Any

import yaml

from sosr_timm.errors import UserError, one_line, reason_of
from sosr_timm.files import write_json

OPTIONS, ABOUT, METRICS, SUMMARY, CHECKPOINTS = (
    "options.yaml",
    "run.json",
    "metrics.jsonl",
    "summary.csv",
    "checkpoints",
)
LOCK = ".lock"


class RunFolder:
    """The files of one run.

    Args:
        path: of the folder.
    """

    def __init__(self, path: Path):
        self.path = path
        self.options = path / OPTIONS
        self.about = path / ABOUT
        self.metrics = path / METRICS
        self.summary = path / SUMMARY
        self.checkpoints = path / CHECKPOINTS

    @property
    def is_run(self) -> bool:
        return self.about.is_file() and self.options.is_file()

    def write_about(self, options: dict[str, Any], about: dict[str, Any]) -> None:
        """Store the resolved options (a valid --config) and what else describes the run."""
        header = "# Every option of this run; usable as --config.\n"
        self.options.write_text(header + yaml.safe_dump(options, sort_keys=False), encoding="utf-8")
        # Written last and at once: a folder without it never came to be a run.
        write_json(self.about, about)

    def lock(self) -> IO[str]:
        """Keep other processes from training in this folder for as long as the file returned is open.

        Raises:
            UserError: one is training here now.
        """
        file = open(self.path / LOCK, "a+", encoding="utf-8")  # noqa: SIM115 - held open for the life of the run
        try:
            fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except OSError:
            file.seek(0)
            holder = file.read().strip()
            file.close()
            raise UserError(f"{self.path} is being trained in by process {holder or 'unknown'}") from None
        file.truncate(0)
        file.write(f"{os.getpid()} on {socket.gethostname()}")
        file.flush()
        return file

    def read_about(self) -> tuple[dict[str, Any], dict[str, Any]]:
        """What `write_about` stored.

        Raises:
            UserError: a file is missing or damaged.
        """
        try:
            options = yaml.safe_load(self.options.read_text(encoding="utf-8"))
            about = json.loads(self.about.read_text(encoding="utf-8"))
        except (OSError, ValueError, yaml.YAMLError, RecursionError) as error:
            raise UserError(f"{self.path} is no whole run folder ({one_line(error)})") from None
        if not isinstance(options, dict) or not isinstance(about, dict):
            raise UserError(f"{self.path} is no whole run folder ({OPTIONS} or {ABOUT} holds no mapping)")
        return options, about


def claim_folder(output: Path, name: str) -> RunFolder:
    """A new, empty run folder: output/name, or name-2, name-3, ... so that no run is written over another.

    Raises:
        UserError: the folder cannot be made.
    """
    for number in range(1, 10_000):
        path = output / (name if number == 1 else f"{name}-{number}")
        try:
            path.mkdir(parents=True)
            (path / CHECKPOINTS).mkdir()
            return RunFolder(path)
        except FileExistsError:
            if not path.is_dir():
                raise UserError(f"run folder {path} cannot be made: a file of that name is in the way") from None
        except OSError as error:
            raise UserError(f"run folder {path} cannot be made ({reason_of(error)})") from None
    raise UserError(f"{output} holds 10,000 runs called {name}: give another --experiment")


def folder_name(*words: str) -> str:
    """Words as one file name."""
    return "-".join(re.sub(r"[^A-Za-z0-9_.=]+", "_", word).strip("_") for word in words if word)
