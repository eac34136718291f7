"""Rows whose runs start from the best weights of another row's runs."""

from __future__ import annotations

from pathlib import Path

from experiments.table_file import TABLES, read_table
from sosr_timm.checkpoints.format import MODEL
from sosr_timm.errors import UserError
from sosr_timm.registry import close_names
from sosr_timm.runner.jobs import Job, plan_jobs


def starting_job(job: Job, folder: Path = TABLES) -> Job | None:
    """The run whose best weights a run starts from; None if it starts from scratch.

    If the other row has fewer seeds, they are used in turn.

    Raises:
        UserError: the row's `start` names no row that can be run.
    """
    if not job.row.start:
        return None
    key = {name: value for name, value in job.row.start.items() if name != "table"}
    table = read_table(str(job.row.start.get("table")), folder)
    rows = [row for row in table.rows if row.key == key]
    jobs = plan_jobs(table, rows, None, {}, job.places)
    if not jobs:
        known = [row.title for row in table.rows if not row.absent]
        named = ", ".join(map(str, key.values()))
        where = f"{job.table.path}, line {job.row.line}: start"
        raise UserError(f"{where}: no row '{named}' of {table.name} can be run; {close_names(named, known)}")
    return jobs[job.seed % len(jobs)]


def weights_of(job: Job) -> Path:
    """The file of a run's best weights."""
    return job.folder.checkpoints / "best" / MODEL
