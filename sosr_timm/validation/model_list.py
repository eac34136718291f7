"""Evaluate a list of models: a failure is a row of the results, and the file is written after each model."""

from __future__ import annotations

import os
from pathlib import Path
from typing import Any

import torch

from sosr_timm.data.sources.source import ImageSource
from sosr_timm.distributed.processes import Processes
from sosr_timm.options.load import Loaded
from sosr_timm.options.validate import ValidateOptions
from sosr_timm.tracking.console import logger
from sosr_timm.validation.evaluation import evaluate_model
from sosr_timm.validation.model_selection import EvaluatedModel
from sosr_timm.validation.reports import Output, table_of_rows
from sosr_timm.validation.results_file import best_first, failed_row, format_of, rows_of, write_results

INTERRUPTED = 130


def evaluate_list(
    models: list[EvaluatedModel], loaded: Loaded[ValidateOptions], processes: Processes, source: ImageSource
) -> int:
    """Evaluate one model after the other on the same images.

    Args:
        models: the models.
        loaded: the options of all of them.
        processes: that share each evaluation.
        source: of the images.

    Returns:
        0, or 1 where a model could not be evaluated, or 130 where it was interrupted; the file then holds what was
        done.
    """
    report = loaded.options.report
    form = format_of(report.results_file, report.results_format) if report.results_file else ""
    if report.results_file and processes.is_main:
        _keep_old(Path(report.results_file))
    rows: list[dict[str, Any]] = []
    code = 0
    for number, evaluated in enumerate(models, start=1):
        checkpoint = evaluated.options.model.checkpoint
        logger.info("model %d of %d: %s %s", number, len(models), evaluated.name, checkpoint)
        try:
            found = evaluate_model(evaluated, loaded, processes, source, retry=True)
            rows += rows_of(found.record, report.metrics_avg, checkpoint, report.confidence)
        except KeyboardInterrupt:
            logger.warning("interrupted after %d of %d models", number - 1, len(models))
            code = INTERRUPTED
            break
        except Exception as error:  # a model that fails must not end the evaluation of the others
            rows.append(failed_row(evaluated.name, checkpoint, error))
            logger.warning("%s could not be evaluated: %s", evaluated.name, rows[-1]["error"])
            code = 1
        if report.results_file and processes.is_main:
            write_results(report.results_file, form, rows)
        if torch.cuda.is_available():
            torch.cuda.empty_cache()
    if processes.is_main:
        output = Output(report.json)
        output.table(table_of_rows(best_first(rows), source.info.num_classes))
        output.result(best_first(rows))
    return code


def _keep_old(path: Path) -> None:
    """Keep the results of an earlier evaluation: they may be hours of work."""
    if path.is_file():
        old = path.with_name(path.name + ".old")
        os.replace(path, old)
        logger.info("%s exists: renamed to %s", path, old)
