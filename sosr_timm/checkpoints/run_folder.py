"""A run's folder: its options, its log as lines and as a table, its checkpoints."""

from __future__ import annotations

import fcntl
import json
import logging
import os
import re
import socket
import time
from contextlib import suppress
from pathlib import Path
from typing import IO, Any

import yaml

from sosr_timm.errors import UserError, one_line, reason_of
from sosr_timm.files import must_write, write_json, write_text

OPTIONS, ABOUT, RESULT, LABELS = "options.yaml", "run.json", "result.json", "training_labels.safetensors"
METRICS, SUMMARY, CONFIDENCE = "metrics.jsonl", "summary.csv", "confidence.csv"
IMAGE_ENTROPY, FEATURES = "image_entropy.safetensors", "features"
CHECKPOINTS, LOCK = "checkpoints", ".lock"
PATIENCE = 30.0  # seconds; as long as torchrun gives its processes to end

logger = logging.getLogger("sosr_timm")


class RunFolder:
    """The files of one run."""

    def __init__(self, path: Path):
        self.path = path
        self.options = path / OPTIONS
        self.about = path / ABOUT
        self.metrics = path / METRICS
        self.summary = path / SUMMARY
        self.confidence = path / CONFIDENCE
        self.checkpoints = path / CHECKPOINTS

    @property
    def is_run(self) -> bool:
        return self.about.is_file() and self.options.is_file()

    def write_about(self, options: dict[str, Any], about: dict[str, Any]) -> None:
        """Store the resolved options (a valid --config) and what else describes the run.

        Raises:
            UserError: they cannot be written.
        """
        header = "# Every option of this run; usable as --config.\n"
        with must_write(f"run folder {self.path}"):
            write_text(self.options, header + yaml.safe_dump(options, sort_keys=False))
            write_json(self.about, about)  # written last: a folder without it is no run

    def holder(self) -> str:
        """The process that is training here now; "" where none is."""
        try:
            with open(self.path / LOCK, encoding="utf-8") as file:
                fcntl.flock(file, fcntl.LOCK_SH | fcntl.LOCK_NB)
        except BlockingIOError:
            return self._name_of_holder()
        except OSError:  # no lock yet, or a file system without locks
            pass
        return ""

    def _name_of_holder(self) -> str:
        with suppress(OSError):
            return (self.path / LOCK).read_text(encoding="utf-8").strip() or "unknown"
        return "unknown"

    def wait_until_free(self, seconds: float | None = None) -> None:
        """Return when no process is training here: one that was just killed or told to stop needs a moment to end.

        Args:
            seconds: to wait at most; `PATIENCE` where not given.

        Raises:
            UserError: a process is still training here.
        """
        seconds = PATIENCE if seconds is None else seconds
        until, said = time.monotonic() + seconds, False
        while holder := self.holder():
            if time.monotonic() >= until:
                raise UserError(f"{self.path} is being trained in by process {holder}")
            if not said:
                logger.info("process %s is training in %s: waiting up to %g s for its end", holder, self.path, seconds)
                said = True
            time.sleep(0.1)

    def lock(self) -> IO[str]:
        """Keep other processes from training in this folder for as long as the file returned is open.

        Raises:
            UserError: one is training here now, or the folder cannot be written to.
        """
        with must_write(f"run folder {self.path}"):
            file = open(self.path / LOCK, "a+", encoding="utf-8")  # noqa: SIM115 - held open for the life of the run
        try:
            self._take(file)
        except BaseException:
            file.close()
            raise
        with suppress(OSError):  # only says who it is
            os.ftruncate(file.fileno(), 0)
            os.write(file.fileno(), f"{os.getpid()} on {socket.gethostname()}".encode())
        return file

    def _take(self, file: IO[str]) -> None:
        for attempt in range(10):
            try:
                return fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
            except BlockingIOError:  # maybe by another start that only looks
                if attempt == 9:
                    raise UserError(f"{self.path} is being trained in by process {self._name_of_holder()}") from None
                time.sleep(0.05)
            except OSError as error:
                why = reason_of(error)
                logger.warning("no lock on %s (%s): nothing keeps a second process from training there", self.path, why)
                return None

    def remove_unstarted(self) -> None:
        """Take back a folder in which no run was started; what is not a run's file stays."""
        if self.is_run:
            return
        for path in (self.path / LOCK, self.path / LABELS, self.options):
            with suppress(OSError):
                path.unlink()
        with suppress(OSError):
            self.checkpoints.rmdir()
            self.path.rmdir()

    def read_about(self) -> tuple[dict[str, Any], dict[str, Any]]:
        """What `write_about` stored.

        Raises:
            UserError: a file is missing or damaged.
        """
        try:
            options = yaml.safe_load(self.options.read_text(encoding="utf-8"))
            about = json.loads(self.about.read_text(encoding="utf-8"))
        except (OSError, ValueError, yaml.YAMLError, RecursionError) as error:
            raise UserError(f"{self.path} is not a complete run folder ({one_line(error)})") from None
        if not isinstance(options, dict) or not isinstance(about, dict):
            raise UserError(f"{self.path} is not a complete run folder ({OPTIONS} or {ABOUT} is not a mapping)")
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
                raise UserError(f"run folder {path} cannot be created: a file of that name exists") from None
        except OSError as error:
            raise UserError(f"run folder {path} cannot be made ({reason_of(error)})") from None
    raise UserError(f"{output} holds 10,000 runs called {name}: give another --experiment")


def folder_name(*words: str) -> str:
    """Words as one file name."""
    return "-".join(re.sub(r"[^A-Za-z0-9_.=]+", "_", word).strip("_") for word in words if word)
