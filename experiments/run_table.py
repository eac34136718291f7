"""`run`: start the missing runs of a table, or print their commands."""

from __future__ import annotations

import argparse
import shlex
import sys
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from experiments.command_line import changes_of, places_of
from experiments.starting import starting_job, weights_of
from experiments.table_file import read_table
from sosr_timm.errors import UserError
from sosr_timm.runner.executors import make_executor
from sosr_timm.runner.jobs import Job, plan_jobs
from sosr_timm.runner.start import check_data, command_of, estimate, missing_of, run_jobs
from sosr_timm.runner.tables import choose_rows
from sosr_timm.text import counted


def run_table(parsed: argparse.Namespace, extra: Mapping[str, Any]) -> int:
    """Start the missing runs; returns the exit code: 1 where a run failed, 128 + N after signal N.

    Raises:
        UserError: an invalid table, a missing data set, or incompatible options.
    """
    table = read_table(parsed.table)
    changes = changes_of(parsed, dict(extra))
    rows = choose_rows(table, parsed.only)
    jobs = plan_jobs(table, rows, parsed.seeds, changes, places_of(parsed))
    if not jobs:
        reasons = sorted({row.absent for row in rows})
        raise UserError(f"{table.name}: none of these rows is run here: {'; '.join(reasons)}")
    missing = missing_of(jobs)
    start = shlex.split(parsed.launcher) or [sys.executable]
    script = ["-m", "sosr_timm.detection"] if table.program == "detect" else ["train.py"]
    command = command_of([*start, *script], changes, initial_weights)
    if parsed.dry_run:
        for job in missing:
            print(shlex.join(command(job)))
        print(estimate(missing, len(jobs) - len(missing)))
        return 0
    if not missing:
        print(f"{table.name}: {counted(len(jobs), 'run')}, already finished: nothing to do")
        return 0
    missing, waiting = without_waiting(missing)
    if not missing:
        return 1
    check_data(missing)
    executor = make_executor(parsed.executor, parsed.slurm, parsed.jobs, parsed.launcher, len(missing))
    outcome = run_jobs(table.name, missing, len(jobs), executor, command)
    if outcome.signal:
        return 128 + outcome.signal
    return 1 if outcome.failed or outcome.stopped or waiting else 0


def initial_weights(job: Job) -> Path | None:
    """The weights that a run starts from; None from scratch."""
    first = starting_job(job)
    return weights_of(first) if first else None


def without_waiting(jobs: Sequence[Job]) -> tuple[list[Job], list[Job]]:
    """The jobs that can start, and those whose initial weights do not exist yet, which are reported."""
    ready, waiting = [], []
    for job in jobs:
        first = starting_job(job)
        if first is None or weights_of(first).is_file():
            ready.append(job)
        else:
            waiting.append(job)
            print(
                f"skipped {job.name}: it starts from the weights of {first.name} of {first.table.name}; run that first"
            )
    return ready, waiting
