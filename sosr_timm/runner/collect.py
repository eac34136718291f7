"""A finished run's folder as a record."""

from __future__ import annotations

import csv
import dataclasses
import json
import math
import os
import shlex
from pathlib import Path
from typing import Any

import yaml

from sosr_timm.checkpoints.run_folder import RESULT, RunFolder
from sosr_timm.results import load_result
from sosr_timm.runner.jobs import EVALUATION, TEST, Job
from sosr_timm.runner.record import Record
from sosr_timm.runner.settings import OF_THE_BATCH, key_of, options_of_program, settings
from sosr_timm.tracking.metrics_log import read_lines

CONFIDENCE = "confidence.csv"  # of --record-confidence


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
    known = options_of_program(job.table.program)
    batch, accumulation = (own.get(name, known[name].default) for name in OF_THE_BATCH)
    # Whatever was given to fit the batch to several processes: its whole size is what counts.
    conditions = {name: value for name, value in job.conditions.items() if name not in OF_THE_BATCH}
    if samples != batch * accumulation:
        conditions.update(batch_size=samples, grad_accum_steps=1)
    key = key_of(settings(job.table, job.row, conditions), job.table.program)
    record = Record(job.table.name, job.row.key, conditions, key, curve_of(job.folder.summary), result)
    return of_comparison(record, job.folder) if job.product != RESULT else record


def of_comparison(record: Record, folder: RunFolder) -> Record:
    """The record of a comparison's run: with its epochs and evaluations, and without the machine's directories.

    Raises:
        OSError: a file of the run is missing.
        ValueError: a file of the run is damaged.
    """
    parts = {}
    for name, path in (("evaluation", folder.path / EVALUATION), ("test", folder.path / TEST)):
        if path.is_file():
            parts[name] = json.loads(path.read_text(encoding="utf-8"))
    run = record.run
    dataset = Path(run.dataset).name if os.sep in run.dataset else run.dataset
    run = dataclasses.replace(run, command=portable(run.command), dataset=dataset, data=portable_origin(run.data))
    return dataclasses.replace(record, run=run, history=history_of(folder), **parts)


def portable(command: str) -> str:
    """A command line with the last part of every absolute path instead of the path."""
    try:
        words = shlex.split(command)
    except ValueError:
        words = []
    if shlex.join(words) == command:
        return shlex.join(map(without_directories, words))
    return " ".join(map(without_directories, command.split(" ")))  # of older versions, which quoted nothing


def without_directories(word: str) -> str:
    """The last part of an absolute path, also of one in `name=PATH`; any other word as it is."""
    name, equals, value = word.partition("=")
    if equals and Path(value).is_absolute():
        return f"{name}=.../{Path(value).name}"
    return f".../{Path(word).name}" if Path(word).is_absolute() else word


def portable_origin(value: Any) -> Any:
    """The origin of a data set with the last part of every absolute path instead of the path, at any depth."""
    if isinstance(value, dict):
        return {key: portable_origin(item) for key, item in value.items()}
    if isinstance(value, list):
        return [portable_origin(item) for item in value]
    return portable(value) if isinstance(value, str) else value


def history_of(folder: RunFolder) -> list[dict[str, Any]]:
    """The epochs of a run: the lines of metrics.jsonl without their times, and those of confidence.csv beside them.

    Raises:
        OSError: no such file.
    """
    lines = [line for line in read_lines(folder.metrics) if line.get("kind") == "epoch"]
    confidence: dict[str, dict[str, str]] = {}
    path = folder.path / CONFIDENCE
    if path.is_file():
        with open(path, encoding="utf-8", newline="") as file:
            confidence = {row.pop("epoch"): row for row in csv.DictReader(file)}
    history = []
    for line in lines:
        values = {name: value for name, value in line.items() if name not in ("kind", "timing", "step")}
        recorded = confidence.get(str(line["epoch"]), {})
        values |= {f"confidence_{name}": float(value) for name, value in recorded.items() if value}
        history.append({name: finite(value) for name, value in values.items()})
    return history


def finite(value: Any) -> Any:
    """The value, or None for a number that is not finite, which JSON does not have."""
    return None if isinstance(value, float) and not math.isfinite(value) else value


def curve_of(summary: Path) -> list[float]:
    """The main metric of the evaluated epochs in a run's summary.csv: top-1, or a detector's mAP at 11 points.

    Raises:
        OSError: no such file.
        ValueError: a column is missing.
    """
    with open(summary, encoding="utf-8", newline="") as file:
        try:
            rows = list(csv.DictReader(file))
            # With an EMA, eval_top1 is the EMA's in files of today and the weights' own in older ones.
            name = "eval_map_11point" if rows and "eval_map_11point" in rows[0] else "eval_top1"
            column = f"{name}_raw" if rows and f"{name}_raw" in rows[0] else name
            return [float(row[column]) for row in rows if row[column]]
        except KeyError as error:
            raise ValueError(f"{summary}: no column {error}") from error
