"""A run's folder: its options, its log as lines and as a table, its checkpoints."""

from __future__ import annotations

import csv
import io
import json
import os
import re
from pathlib import Path
from typing import Any

import yaml

from sosr_timm.errors import UserError

OPTIONS, ABOUT, METRICS, SUMMARY, CHECKPOINTS = (
    "options.yaml",
    "run.json",
    "metrics.jsonl",
    "summary.csv",
    "checkpoints",
)


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
        self.about.write_text(json.dumps(about, indent=1) + "\n", encoding="utf-8")

    def read_about(self) -> tuple[dict[str, Any], dict[str, Any]]:
        """What `write_about` stored.

        Raises:
            UserError: a file is missing or damaged.
        """
        try:
            options = yaml.safe_load(self.options.read_text(encoding="utf-8"))
            about = json.loads(self.about.read_text(encoding="utf-8"))
        except (OSError, ValueError, yaml.YAMLError, RecursionError) as error:
            raise UserError(f"{self.path} is no whole run folder ({' '.join(str(error).split())})") from None
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
            raise UserError(f"run folder {path} cannot be made ({error.strerror})") from None
    raise UserError(f"{output} holds 10,000 runs called {name}: give another --experiment")


def folder_name(*words: str) -> str:
    """Words as one file name."""
    return "-".join(re.sub(r"[^A-Za-z0-9_.=]+", "_", word).strip("_") for word in words if word)


class Journal:
    """metrics.jsonl and summary.csv, appended to; on resume cut back to what the checkpoint knew.

    Everything in summary.csv, and everything in metrics.jsonl but the key "timing", is the same for a run that
    was stopped and one that was not.

    Args:
        folder: of the run.
        columns: of the table, in order.
    """

    def __init__(self, folder: RunFolder, columns: tuple[str, ...]):
        self.folder, self.columns = folder, columns

    def line(self, record: dict[str, Any]) -> None:
        """Append one JSON line."""
        self._append(self.folder.metrics, json.dumps(record) + "\n")

    def row(self, values: dict[str, Any]) -> None:
        """Append one row of the table, after its header where it is the first.

        Raises:
            ValueError: a value that has no column.
        """
        text = io.StringIO()
        writer = csv.DictWriter(text, self.columns, lineterminator="\n")
        if not self.folder.summary.exists() or not self.folder.summary.stat().st_size:
            writer.writeheader()
        writer.writerow(values)
        self._append(self.folder.summary, text.getvalue())

    @staticmethod
    def _append(path: Path, text: str) -> None:
        with open(path, "a", encoding="utf-8", newline="") as file:
            file.write(text)

    def sizes(self) -> dict[str, int]:
        """Bytes of each file, after they reached the disk: what a checkpoint remembers."""
        sizes = {}
        for path in (self.folder.metrics, self.folder.summary):
            if not path.exists():
                sizes[path.name] = 0
                continue
            with open(path, "rb") as file:
                os.fsync(file.fileno())
                sizes[path.name] = os.fstat(file.fileno()).st_size
        return sizes

    def cut(self, sizes: dict[str, int]) -> None:
        """Drop what was written after a checkpoint: it will be written again."""
        for path in (self.folder.metrics, self.folder.summary):
            if path.exists() and path.stat().st_size > sizes.get(path.name, 0):
                os.truncate(path, sizes.get(path.name, 0))


def read_lines(path: Path) -> list[dict[str, Any]]:
    """The records of a metrics.jsonl; a half-written last line is left out."""
    records = []
    for text in path.read_text(encoding="utf-8").splitlines():
        try:
            records.append(json.loads(text))
        except ValueError:
            break
    return records
