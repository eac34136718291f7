"""What stands beside the weights of a run: its evaluation, its table and curves, its options."""

from __future__ import annotations

import csv
import json
import shutil
from pathlib import Path
from typing import Any

from sosr_timm.errors import UserError
from sosr_timm.options.load import load
from sosr_timm.options.task import is_multi_label
from sosr_timm.options.validate import ValidateOptions
from sosr_timm.results import RunResult, load_result
from sosr_timm.setup.stored_run import StoredRun
from sosr_timm.validation.data import data_name
from sosr_timm.validation.main import run_validation
from sosr_timm.validation.reports import RECORD, RELIABILITY

RESULT, RECIPE, SUMMARY, CURVES = "result.json", "recipe.yaml", "summary.csv", "curves.png"


def result_of(run: StoredRun) -> RunResult:
    """The record of a finished run.

    Raises:
        UserError: the run has not finished, or its record is damaged.
    """
    path = run.folder.path / RESULT
    if not path.is_file():
        raise UserError(f"{run.folder.path} has not finished (no {RESULT}): train.py --resume auto goes on with it")
    try:
        return load_result(path)
    except (OSError, ValueError) as error:
        raise UserError(str(error)) from None


def evaluation_of(run: StoredRun) -> dict[str, Any]:
    """evaluation.json of just this checkpoint; where there is none, the checkpoint is evaluated as validate.py does it.

    Raises:
        UserError: the data is not there, the file is damaged, or images have many labels.
    """
    if is_multi_label(run.options.task):
        raise UserError(f"{run.folder.path}: a card speaks of one class per image, and this run is of many labels")
    found = _read_evaluation(run)
    if found is None:
        run_validation(load(ValidateOptions, [str(run.checkpoint)]))
        found = _read_evaluation(run)
    if found is None:
        raise UserError(f"{run.folder.path / RECORD} does not speak of {run.checkpoint.name}")
    return found


def _read_evaluation(run: StoredRun) -> dict[str, Any] | None:
    path = run.folder.path / RECORD
    if not path.is_file():
        return None
    try:
        record = json.loads(path.read_text(encoding="utf-8"))
        of_this = str(record["subject"]).split()[-1] == run.checkpoint.name
        of_this = of_this and record["data"] == data_name(ValidateOptions(), run)
        whole = record["weights"]["weights"]["count"]
    except (OSError, ValueError, KeyError, TypeError, IndexError) as error:
        raise UserError(f"{path} cannot be read ({type(error).__name__}: {error}): run validate.py anew") from None
    return record if of_this and whole else None


def write_evidence(run: StoredRun, folder: Path) -> list[str]:
    """Copy what a run says of itself, and draw its curves.

    Args:
        run: whose evaluation is written.
        folder: to fill.

    Returns:
        the names of the files.
    """
    sources = {
        RECORD: run.folder.path / RECORD,
        RESULT: run.folder.path / RESULT,
        RECIPE: run.folder.options,
        SUMMARY: run.folder.summary,
        RELIABILITY: run.folder.path / RELIABILITY,
    }
    written = [name for name, source in sources.items() if source.is_file()]
    for name in written:
        shutil.copyfile(sources[name], folder / name)
    draw_curves(run.folder.summary, folder / CURVES)
    return [*written, CURVES]


def draw_curves(summary: Path, path: Path) -> None:
    """Loss, top-1 and learning rate over the epochs, from summary.csv, as one picture.

    Raises:
        UserError: the table is damaged.
    """
    from matplotlib.figure import Figure

    try:
        with open(summary, newline="", encoding="utf-8") as file:
            rows = list(csv.DictReader(file))
        series = {name: _points(rows, name) for name in ("train_loss", "eval_loss", "eval_top1", "lr")}
    except (OSError, ValueError, KeyError) as error:
        raise UserError(f"{summary} cannot be read ({error})") from None
    figure = Figure(figsize=(10, 3), layout="constrained")
    loss, top1, rate = figure.subplots(1, 3)
    loss.plot(*series["train_loss"], marker=".", label="training (augmented)")
    loss.plot(*series["eval_loss"], marker=".", label="evaluation (NLL)")
    loss.legend()
    top1.plot(*series["eval_top1"], marker=".")
    rate.plot(*series["lr"], marker=".")
    for axes, title in ((loss, "loss"), (top1, "top-1 %"), (rate, "learning rate")):
        axes.set(title=title, xlabel="epoch")
        axes.grid(alpha=0.3)
    figure.savefig(path, dpi=100, metadata={"Software": None})


def _points(rows: list[dict[str, str]], name: str) -> tuple[list[int], list[float]]:
    """Epochs, counted from 1, and values; an epoch without evaluation has none."""
    known = [(int(row["epoch"]) + 1, float(row[name])) for row in rows if row[name]]
    return [epoch for epoch, _ in known], [value for _, value in known]
