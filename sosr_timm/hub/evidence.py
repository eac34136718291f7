"""The files beside the weights of a run: its evaluation, its table and curves, its options."""

from __future__ import annotations

import json
import shutil
from pathlib import Path
from typing import Any

from sosr_timm.checkpoints.run_folder import RESULT, SUMMARY
from sosr_timm.errors import UserError
from sosr_timm.options.load import load
from sosr_timm.options.task import is_multi_label
from sosr_timm.options.validate import ValidateOptions
from sosr_timm.results import RunResult, load_result
from sosr_timm.setup.metric_names import evaluates
from sosr_timm.setup.stored_run import StoredRun
from sosr_timm.tracking.curves import CURVES, draw_curves
from sosr_timm.validation.data import data_name
from sosr_timm.validation.main import run_validation
from sosr_timm.validation.reports import RECORD, RELIABILITY

RECIPE = "recipe.yaml"
NEW_NAMES = {"average of weights": "ema"}  # of what older versions wrote


def result_of(run: StoredRun) -> RunResult:
    """The record of a finished run.

    Raises:
        UserError: the run has not finished, or its record is damaged.
    """
    path = run.folder.path / RESULT
    if not path.is_file():
        raise UserError(f"{run.folder.path} has not finished (no {RESULT}): train.py --resume auto resumes it")
    try:
        result = load_result(path)
    except (OSError, ValueError) as error:
        raise UserError(str(error)) from None
    if not evaluates(run.options):
        raise UserError(
            f"{run.folder.path} was trained without evaluation (--val-split is empty): a card needs metrics"
        )
    return result


def evaluation_of(run: StoredRun) -> dict[str, Any]:
    """evaluation.json of just this checkpoint; where there is none, the checkpoint is evaluated as validate.py does it.

    Raises:
        UserError: the data is not there, the file is damaged, or images have many labels.
    """
    if is_multi_label(run.options.task):
        raise UserError(f"{run.folder.path}: a card is for one class per image, and this run has many labels")
    found = _read_evaluation(run)
    if found is None:
        run_validation(load(ValidateOptions, [str(run.checkpoint)]))
        found = _read_evaluation(run)
    if found is None:
        raise UserError(f"{run.folder.path / RECORD} is not about {run.checkpoint.name}")
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
    record["weights"] = {NEW_NAMES.get(name, name): metrics for name, metrics in record["weights"].items()}
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
    draw_curves(run.folder.summary, folder / CURVES, run.folder.path.name)
    return [*written, CURVES]
