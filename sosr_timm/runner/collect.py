"""A finished run's folder as a record."""

from __future__ import annotations

import csv
from pathlib import Path

import yaml

from sosr_timm.checkpoints.run_folder import RESULT
from sosr_timm.results import load_result
from sosr_timm.runner.jobs import Job
from sosr_timm.runner.record import Record
from sosr_timm.runner.settings import OF_THE_BATCH, OPTIONS, key_of, settings


def record_of(job: Job) -> Record:
    """The result of a finished run and its conditions.

    Raises:
        OSError: a file of the run is missing.
        ValueError: a file of the run is damaged.
    """
    result = load_result(job.folder.path / RESULT)
    try:
        stored = yaml.safe_load(job.folder.options.read_text(encoding="utf-8"))
        samples = stored["batch_size"] * stored["grad_accum_steps"] * result.processes
    except (yaml.YAMLError, KeyError, TypeError) as error:
        raise ValueError(f"{job.folder.options}: {error!r}") from error
    own = settings(job.table, job.row, {})
    batch, accumulation = (own.get(name, OPTIONS[name].default) for name in OF_THE_BATCH)
    # Whatever was given to fit the batch to several processes: its whole size is what counts.
    conditions = {name: value for name, value in job.conditions.items() if name not in OF_THE_BATCH}
    if samples != batch * accumulation:
        conditions.update(batch_size=samples, grad_accum_steps=1)
    key = key_of(settings(job.table, job.row, conditions))
    return Record(job.table.name, job.row.key, conditions, key, curve_of(job.folder.summary), result)


def curve_of(summary: Path) -> list[float]:
    """Top-1 of the evaluated epochs in a run's summary.csv.

    Raises:
        OSError: no such file.
        ValueError: a column is missing.
    """
    with open(summary, encoding="utf-8", newline="") as file:
        try:
            rows = list(csv.DictReader(file))
            # With an EMA, eval_top1 is the EMA's in files of today and the weights' own in older ones.
            column = "eval_top1_raw" if rows and "eval_top1_raw" in rows[0] else "eval_top1"
            return [float(row[column]) for row in rows if row[column]]
        except KeyError as error:
            raise ValueError(f"{summary}: no column {error}") from error
