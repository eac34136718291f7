"""The task of an evaluation: one class per image or many labels, and the options that it rules out."""

from __future__ import annotations

from sosr_timm.data.sources.source import ImageSource
from sosr_timm.errors import UserError
from sosr_timm.options.task import MULTI_LABEL, TaskOptions, is_multi_label
from sosr_timm.options.validate import ValidateOptions
from sosr_timm.validation.model_selection import EvaluatedModel


def task_of(evaluated: EvaluatedModel, source: ImageSource) -> TaskOptions:
    """One class per image or many labels: as the images are labelled, which must be as the run was trained.

    Args:
        evaluated: whose options may say from which probability a label counts as predicted; else the run's do.
        source: of the images.

    Raises:
        UserError: images that are labelled otherwise than those of the run, or an option that has no meaning here.
    """
    options, run = evaluated.options, evaluated.run
    many = source.info.multi_hot
    if run is not None and many != is_multi_label(run.options.task):
        kinds = {True: "vectors of labels", False: "one class per image"}
        raise UserError(f"{evaluated.name}: trained on {kinds[not many]}, and this data set has {kinds[many]}")
    threshold = options.report.multilabel_threshold
    if not many:
        if threshold is not None:
            raise UserError(f"--multilabel-threshold {threshold:g} is for many labels per image, not for one class")
        return TaskOptions()
    _check_options(options)
    if threshold is None:
        threshold = run.options.task.multilabel_threshold if run is not None else TaskOptions().multilabel_threshold
    task = TaskOptions(task=MULTI_LABEL, multilabel_threshold=threshold)
    return task


def _check_options(options: ValidateOptions) -> None:
    report, data = options.report, options.data
    single = {
        "--compare": options.model.compare,
        "--temperature": report.temperature,
        "--per-class": report.per_class,
        "--metrics-avg": report.metrics_avg,
        "--predictions": report.predictions,
        "--real-labels": data.real_labels,
        "--valid-labels": data.valid_labels,
        "--ood-dataset": data.ood_dataset,
        "--ood-data-dir": data.ood_data_dir,
    }
    flag = next((flag for flag, given in single.items() if given), None)
    if flag:
        raise UserError(f"{flag} is for one class per image; the images have many labels")
