"""Evaluations from their command line to their tables and files."""

from __future__ import annotations

from pathlib import Path

import torch

from sosr_timm.data.sources.embedded import unread_directory
from sosr_timm.data.sources.source import ImageSource
from sosr_timm.distributed.processes import Processes, start_processes
from sosr_timm.errors import UserError
from sosr_timm.files import must_write
from sosr_timm.metrics.titles import WEIGHTS
from sosr_timm.options.load import Loaded, other_meanings
from sosr_timm.options.validate import EvaluatedModelOptions, ValidateOptions
from sosr_timm.setup.stored_run import StoredRun, find_run
from sosr_timm.tracking.console import logger, show_log, show_notes
from sosr_timm.validation.comparison import find_sides, run_comparison
from sosr_timm.validation.data import data_name, evaluation_source
from sosr_timm.validation.evaluation import Evaluation, evaluate_model
from sosr_timm.validation.model_list import evaluate_list
from sosr_timm.validation.model_selection import EvaluatedModel, find_models, is_list
from sosr_timm.validation.predictions import check_predictions_file, path_of, write_predictions
from sosr_timm.validation.reports import Output, ood_table, selective_table, table_of, write_folder
from sosr_timm.validation.results_file import format_of, rows_of, write_results

__all__ = ["data_name", "run_validation"]


def run_validation(loaded: Loaded[ValidateOptions]) -> int:
    """Evaluate what the options name; print the table, and write the files that the options ask for.

    Returns:
        0; of a list 1 where a model could not be evaluated, 130 where it was interrupted.

    Raises:
        UserError: anything that the user can fix.
    """
    options = loaded.options
    check_options(options)
    if options.model.compare:
        sides = find_sides(options)
        processes = start(loaded, [side.evaluated.run for side in sides if side.evaluated and side.evaluated.run])
        return run_comparison(sides, loaded, processes)
    run = find_run(options.model.run, options.model.which)
    processes = start(loaded, [run] if run else [])
    source = evaluation_source(options, run) if run or options.model.model else None
    models = find_models(options, run, source.info.num_classes if source else None)
    if is_list(options):
        return evaluate_list(models, loaded, processes, source)
    (evaluated,) = models
    found = evaluate_model(evaluated, loaded, processes, source, options.data.retry)
    if processes.is_main:
        report(found, evaluated, source)
    return 0


def start(loaded: Loaded[ValidateOptions], runs: list[StoredRun]) -> Processes:
    """Join the other processes, in the precision that the runs were trained in, unless another is given.

    Raises:
        UserError: two runs have different precisions.
    """
    options = loaded.options
    chosen = options.model
    amp, amp_dtype = precision_of(chosen, runs)
    processes = start_processes(
        amp=amp, amp_dtype=amp_dtype, expected=options.report.num_processes, device=chosen.device
    )
    show_log(processes.is_main, to_stderr=bool(options.report.json))
    unread = unread_directory(options.data.dataset, options.data.data_dir)
    show_notes([*loaded.notes, *other_meanings(options), *unread])
    torch.manual_seed(options.report.seed)
    if chosen.fast_norm:
        from timm.layers import set_fast_norm

        set_fast_norm()
    return processes


def precision_of(chosen: EvaluatedModelOptions, runs: list[StoredRun]) -> tuple[bool, str]:
    """Whether mixed precision is on and its type: as given, else as the runs were trained.

    Raises:
        UserError: two runs have different precisions.
    """
    if not runs or chosen.amp or chosen.model_dtype is not None:
        return chosen.amp, chosen.amp_dtype
    precisions = {(run.options.model.amp, run.options.model.amp_dtype) for run in runs if run.options.model.amp}
    if precisions and len(precisions) + any(not run.options.model.amp for run in runs) > 1:
        raise UserError("the runs were trained in different precisions: choose one with --amp or --model-dtype float32")
    return next(iter(precisions), (False, chosen.amp_dtype))


def check_options(options: ValidateOptions) -> None:
    """Raise where options contradict each other, before anything is read.

    Raises:
        UserError: with what to do.
    """
    chosen, report = options.model, options.report
    if report.num_gpu != 1:
        raise UserError(
            f"--num-gpu {report.num_gpu}: an evaluation takes one accelerator for each process; start it with "
            f"'torchrun --nproc_per_node {max(report.num_gpu, 2)} validate.py ...'"
        )
    if chosen.amp and chosen.model_dtype not in (None, "float32"):
        raise UserError(f"--model-dtype {chosen.model_dtype} is for use without --amp")
    if is_list(options) and (report.predictions or report.per_class or report.output):
        raise UserError("--predictions, --per-class and --output are for one model, not for a list")
    if chosen.compare and (report.predictions or report.per_class):
        raise UserError("--predictions and --per-class are for one model, not for --compare")
    if chosen.compare and (options.data.ood_dataset or options.data.ood_data_dir):
        raise UserError("--ood-dataset and --ood-data-dir are for one model or a list, not for --compare")
    check_predictions_file(report.predictions)
    if report.results_file:
        format_of(report.results_file, report.results_format)


def report(found: Evaluation, evaluated: EvaluatedModel, source: ImageSource) -> None:
    """The table and the JSON on standard output, the files in the run folder or the named directory and elsewhere."""
    options = evaluated.options.report
    output = Output(options.json)
    output.table(table_of(found.record, options.metrics_avg))
    if found.samples:
        output.table(selective_table(found.record))
    if found.outside:
        output.table(ood_table(found.record))
    folder = Path(options.output) if options.output else evaluated.run and evaluated.run.folder.path
    if folder:
        with must_write(folder):
            write_folder(Path(folder), found, options.per_class)
    if options.predictions:
        for title, samples in found.samples.items():
            path = path_of(Path(options.predictions), title, len(found.samples) > 1)
            about = {"subject": found.record["subject"], "data": found.record["data"]}
            write_predictions(path, samples, source, about, found.class_names, options.p_norm)
            logger.info("predictions of the %s in %s", WEIGHTS[title], path)
    if options.results_file:
        form = format_of(options.results_file, options.results_format)
        checkpoint = evaluated.options.model.checkpoint
        rows = rows_of(found.record, options.metrics_avg, checkpoint, options.confidence)
        write_results(options.results_file, form, rows, found.record)
    output.result(found.record)
