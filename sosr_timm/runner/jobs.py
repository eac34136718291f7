"""The runs of a table: one for each row and seed, each with its folder, log, record and state."""

from __future__ import annotations

import fcntl
import json
import os
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from sosr_timm.checkpoints.format import checkpoint_folders
from sosr_timm.checkpoints.run_folder import RESULT, RunFolder, folder_name
from sosr_timm.errors import UserError
from sosr_timm.runner.record import load_records, records_by_settings
from sosr_timm.runner.settings import conditions, key_of, options_of_program, settings
from sosr_timm.runner.tables import Row, Table

EVALUATION, TEST = "evaluation.json", "test.json"  # of a comparison's run, beside its result
DONE, RUNNING, FAILED, STOPPED, MISSING = "done", "running", "failed", "stopped", "missing"


@dataclass(frozen=True)
class Places:
    """The folders of runs and of their records.

    Attributes:
        output: run folders and logs, by table.
        results: records, by table.
        single: both belong to one table, whose runs are in `runs/`.
    """

    output: Path
    results: Path
    single: bool = False

    def runs(self, table: str) -> Path:
        """The folder of a table's run folders and logs."""
        return self.output / ("runs" if self.single else table)

    def records(self, table: str) -> Path:
        """The folder of a table's records."""
        return self.results / ("runs" if self.single else table)


@dataclass(frozen=True)
class Job:
    """One run of a table.

    Attributes:
        table: of the row.
        conditions: see `settings.conditions`.
        key: see `settings.key_of`.
        values: every option given, by name.
        places: folders of its files.
        finished: a record of these settings and this seed existed when the job was planned, in this table or another.
        product: file of the run folder that exists once the run has nothing left to do.
        until: epochs after which it is stopped for now; 0: none.
    """

    table: Table
    row: Row
    seed: int
    conditions: dict[str, Any]
    key: str
    values: dict[str, Any]
    places: Places
    finished: bool = False
    product: str = RESULT
    until: int = 0

    @property
    def name(self) -> str:
        """Name of the run folder: row, settings and seed."""
        words = (*self.row.key.values(), self.key[:8], f"s{self.seed}")
        return folder_name("_".join(map(str, words)))

    @property
    def folder(self) -> RunFolder:
        return RunFolder(self.places.runs(self.table.name) / self.name)

    @property
    def log(self) -> Path:
        return self.folder.path.with_name(f"{self.name}.log")

    @property
    def failure(self) -> Path:
        """A file that exists while the last start of the run failed; holds its exit code."""
        return self.folder.path.with_name(f"{self.name}.failed")

    @property
    def submitted(self) -> Path:
        """A file that exists while the run is a job of a cluster; holds its number."""
        return self.folder.path.with_name(f"{self.name}.submitted")

    @property
    def stop(self) -> Path:
        """A file that asks a run on a cluster to stop; holds the name of the signal."""
        return self.folder.path.with_name(f"{self.name}.stop")

    @property
    def record(self) -> Path:
        return self.places.records(self.table.name) / f"{self.name}.json"

    @property
    def epochs(self) -> int:
        return self.values.get("epochs", options_of_program(self.table.program)["epochs"].default)

    @property
    def is_complete(self) -> bool:
        """Whether the run folder holds what the record is made of, or the run is as far as it is to go for now."""
        return self.has_product or bool(self.until and self.epochs_done >= self.until)

    @property
    def has_product(self) -> bool:
        return (self.folder.path / self.product).is_file()

    @property
    def epochs_done(self) -> int:
        """Epochs in the run's summary.csv."""
        try:
            return max(0, self.folder.summary.read_text(encoding="utf-8").count("\n") - 1)
        except OSError:
            return 0

    @property
    def is_running(self) -> bool:
        """Whether a process holds the log, as a run does from its start to its end."""
        return is_locked(self.log)

    @property
    def state(self) -> str:
        if self.finished or self.record.is_file():
            return DONE
        if self.is_running or self.submitted.is_file():
            return RUNNING
        if self.failure.is_file():
            return FAILED
        return STOPPED if checkpoint_folders(self.folder.checkpoints) else MISSING

    def share_done(self) -> float:
        """How much of the run is trained, from 0 to 1."""
        if self.finished or self.record.is_file():
            return 1.0
        try:
            about = json.loads(self.folder.about.read_text(encoding="utf-8"))
            with open(self.folder.metrics, "rb") as file:
                file.seek(max(0, os.fstat(file.fileno()).st_size - 4096))
                lines = file.read().splitlines()
            return json.loads(lines[-1])["step"] / (about["epochs"] * about["updates_per_epoch"])
        except (OSError, ValueError, KeyError, IndexError):
            return 0.0  # nothing is written yet, or a line is just being written


def is_locked(path: Path) -> bool:
    """Whether some process holds this file: a run holds its log from its start to its end."""
    try:
        file = os.open(path, os.O_RDONLY)
    except OSError:
        return False
    try:
        fcntl.flock(file, fcntl.LOCK_SH | fcntl.LOCK_NB)
    except OSError:
        return True
    finally:
        os.close(file)
    return False


def plan_jobs(
    table: Table, rows: Sequence[Row], seeds: int | None, changes: Mapping[str, Any], places: Places
) -> list[Job]:
    """The runs of some rows, ordered by seed, so that a table that is stopped early has runs in every row.

    Args:
        rows: rows to run; absent ones are skipped.
        seeds: runs of each row; None for the number in the table.
        changes: options that override the rows'.

    Raises:
        UserError: a damaged record.
    """
    try:
        elsewhere = records_by_settings(places.results)
        records = [(record.row, record.run.seed, record.key) for record in load_records(places.records(table.name))]
    except ValueError as error:
        raise UserError(str(error)) from None
    jobs = []
    for row in (row for row in rows if not row.absent):
        own, values = conditions(table, row, changes), settings(table, row, changes)
        key = key_of(values, table.program)
        for seed in range(seeds or row.seeds):
            finished = (row.key, seed, key) in records or (not own and (key, seed) in elsewhere)
            jobs.append(Job(table, row, seed, own, key, values, places, finished))
    return sorted(jobs, key=lambda job: job.seed)
