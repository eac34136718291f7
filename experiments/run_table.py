"""`run`: start the missing runs of a table, or print their commands."""

from __future__ import annotations

import argparse
import shlex
import sys
from collections.abc import Callable, Mapping, Sequence
from typing import Any

from experiments.command_line import changes_of, places_of
from experiments.jobs import DONE, Job, plan_jobs
from experiments.machine import slots
from experiments.pool import Pool
from experiments.settings import OPTIONS, arguments
from experiments.starting import starting_job, weights_of
from experiments.table_file import read_table
from experiments.tables import choose_rows
from sosr_timm.data.sources.catalog import open_source
from sosr_timm.errors import UserError
from sosr_timm.options.load import plain
from sosr_timm.text import counted
from tools.checkout import shown


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
    # Two rows may ask for the same training: one run serves both.
    missing = list({(job.key, job.seed): job for job in reversed(jobs) if job.state != DONE}.values())[::-1]
    command = command_of(parsed.launcher, changes)
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
    places = slots(parsed.jobs, bool(parsed.launcher))[: len(missing)]
    each = " ".join(f"{name}={value}" for name, value in places[0].items()) or "the environment of its launcher"
    print(
        f"{table.name}: {len(missing)} of {counted(len(jobs), 'run')} to do, {len(places)} at a time, each with {each}",
        flush=True,
    )
    outcome = Pool(places, command, lambda line: print(line, flush=True)).run(missing)
    if outcome.signal:
        print(f"stopped {counted(len(outcome.stopped), 'run')}; run the same command again to resume")
        return 128 + outcome.signal
    print(f"{table.name}: {len(outcome.done)} done, {len(outcome.failed)} failed, {len(outcome.stopped)} stopped")
    return 1 if outcome.failed or outcome.stopped or waiting else 0


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


def command_of(launcher: str, changes: Mapping[str, Any]) -> Callable[[Job], list[str]]:
    """Return a function that gives a job's command line, to be started in the checkout.

    Args:
        launcher: what starts train.py; this Python where empty.
        changes: options that override the rows'.
    """
    start = shlex.split(launcher) or [sys.executable]
    by_row: dict[int, list[str]] = {}

    def command(job: Job) -> list[str]:
        words = by_row.setdefault(id(job.row), arguments(job.table, job.row, changes))
        where = ["--seed", str(job.seed), "--output", shown(job.folder.path.parent), "--experiment", job.name]
        first = starting_job(job)
        if first:
            where += ["--pretrained-path", shown(weights_of(first))]
        return [*start, "train.py", *words, *where, "--resume", "auto", "--checkpoint-hist", "1"]

    return command


def check_data(jobs: Sequence[Job]) -> None:
    """Open the evaluation images of every data set once, so that a missing one is reported before anything starts.

    Raises:
        UserError: a data set cannot be opened.
    """
    names = ("dataset", "data", "data_dir", "val_split", "class_map", "dataset_download")
    seen: list[dict[str, Any]] = []
    for job in jobs:
        values = {name: plain(job.values.get(name, OPTIONS[name].default)) for name in names}
        if values in seen or values["dataset_download"]:
            continue
        seen.append(values)
        root = values["data"] or values["data_dir"]
        open_source(values["dataset"], root, values["val_split"], class_map=values["class_map"])


def estimate(jobs: Sequence[Job], done: int) -> str:
    """The number of runs, epochs and images, in words."""
    epochs = sum(job.epochs for job in jobs)
    counts = [job.values.get("train_num_samples") or job.table.training_images for job in jobs]
    images = sum(job.epochs * count for job, count in zip(jobs, counts, strict=True))
    replaced = any("dataset" in job.conditions and not job.values.get("train_num_samples") for job in jobs)
    amount = "images of a data set whose size is not in the table" if replaced else counted(images, "training image")
    return f"{counted(len(jobs), 'run')} to do, {done} done; {counted(epochs, 'epoch')}, {amount}"
