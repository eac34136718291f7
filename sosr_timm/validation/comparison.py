"""Runs, checkpoints, models or files of predictions on the same images: which is better, and is it chance?"""

from __future__ import annotations

import math
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import torch

from sosr_timm.data.sources.source import ImageSource
from sosr_timm.distributed.processes import Processes
from sosr_timm.environment import environment
from sosr_timm.errors import UserError
from sosr_timm.metrics.bootstrap import Difference, Statistic, calibration, holm, paired_bootstrap, statistics_of
from sosr_timm.metrics.paired import compare_correct
from sosr_timm.metrics.temperature import calibrate, held_out
from sosr_timm.metrics.titles import ADAPTIVE, CLASSWISE, ONE_CLASS, SELECTIVE, TEMPERATURE, WEIGHTS
from sosr_timm.options.load import Loaded
from sosr_timm.options.validate import ValidateOptions
from sosr_timm.setup.model import check_model_name
from sosr_timm.setup.stored_run import find_run
from sosr_timm.tracking.console import logger
from sosr_timm.validation.comparison_report import report_comparison
from sosr_timm.validation.data import data_name, evaluation_source
from sosr_timm.validation.evaluation import evaluate_model
from sosr_timm.validation.model_selection import EvaluatedModel, name_of_run
from sosr_timm.validation.predictions import Predictions, read_predictions

SIGNIFICANT = 0.05  # of a corrected p-value
LEAST_RESAMPLES, RESAMPLES_EACH = 2000, 100  # for all comparisons, and for each metric of each
# What is compared, in the order of the table; the last two with --temperature only.
COMPARED = {
    **ONE_CLASS,
    "ece_adaptive": ADAPTIVE,
    "ece_classwise": CLASSWISE,
    **{name: title for name, title in SELECTIVE.items() if name != "e_aurc"},
    **{name: title for name, title in TEMPERATURE.items() if name != "temperature"},
}


@dataclass
class Side:
    """One of those compared.

    Attributes:
        title: as it was named.
        evaluated: to evaluate, or None where predictions are there.
        predictions: of a file, or None.
    """

    title: str
    evaluated: EvaluatedModel | None = None
    predictions: Predictions | None = None


def find_sides(options: ValidateOptions) -> tuple[Side, ...]:
    """What --compare names, the one that the others are compared with first.

    Raises:
        UserError: fewer than two, one of them is nothing that can be evaluated, or something else is named beside them.
    """
    chosen = options.model
    if chosen.model or chosen.checkpoint:
        raise UserError("--compare names what is evaluated: leave out --model and --checkpoint")
    if len(chosen.compare) < 2:
        raise UserError("--compare needs two runs, checkpoints, models or files of --predictions, or more")
    return tuple(_side(name, options) for name in chosen.compare)


def _side(name: str, options: ValidateOptions) -> Side:
    if name.endswith(".npz"):
        return Side(name, predictions=read_predictions(name))
    run = find_run(name, options.model.which)
    if run is not None:
        return Side(name, EvaluatedModel(name_of_run(run), options, run))
    if Path(name).exists():
        raise UserError(f"--compare {name}: neither a run folder, a checkpoint, nor a .npz file of --predictions")
    try:
        check_model_name(name)
    except UserError as error:
        raise UserError(f"--compare {name}: no such file or directory, and {error}") from None
    chosen = replace(options.model, model=name, pretrained=True)
    return Side(name, EvaluatedModel(name, replace(options, model=chosen)))


def run_comparison(sides: tuple[Side, ...], loaded: Loaded[ValidateOptions], processes: Processes) -> int:
    """Evaluate all on the same images and compare each with the first; tables and one JSON go to standard output.

    Returns:
        0.

    Raises:
        UserError: they have other images, or cannot be evaluated.
    """
    options = loaded.options
    sources = [_source(side, sides, options) for side in sides]
    for side, source in zip(sides[1:], sources[1:], strict=True):
        _check_same((sides[0], side), [sources[0], source], options)
    found = [_predictions(side, source, loaded, processes) for side, source in zip(sides, sources, strict=True)]
    if not processes.is_main:
        return 0
    first = found[0].samples
    for side, other in zip(sides[1:], found[1:], strict=True):
        b = other.samples
        if first.target.shape != b.target.shape or (first.target != b.target).any():
            raise UserError(f"{sides[0].title} and {side.title}: the same images have other labels (--class-map?)")
    resamples = resamples_of(options)
    comparisons = [_compare(found[0], other, options, resamples) for other in found[1:]]
    _correct_together(comparisons, resamples)
    record = {"a": found[0].model, "data": found[0].data}
    record |= comparisons[0] if len(comparisons) == 1 else {"comparisons": comparisons}
    record |= {
        "test": "exact McNemar test, two-sided",
        "interval_method": "paired percentile bootstrap",
        "metrics_resamples": resamples,
        "confidence": options.report.confidence,
        "correction": f"Holm, over {sum(len(one['metrics']) for one in comparisons)} comparisons",
        "environment": environment(),
    }
    run = sides[0].evaluated.run if sides[0].evaluated else None
    report_comparison(record, comparisons, found, run.folder.path if run else None, options)
    return 0


def resamples_of(options: ValidateOptions) -> int:
    """How many resamples: as given, else enough for a p-value to stay small when it is corrected."""
    comparisons = len(options.model.compare) - 1
    return options.report.resamples or max(LEAST_RESAMPLES, RESAMPLES_EACH * comparisons * len(COMPARED))


def _compare(a: Predictions, b: Predictions, options: ValidateOptions, resamples: int) -> dict[str, Any]:
    """b against a by every metric, with p-values that are not yet corrected."""
    report = options.report
    accuracy = compare_correct(a.samples.correct, b.samples.correct, seed=report.seed)
    few = max(one.samples.guesses.shape[1] for one in (a, b)) < 5
    statistics = [statistics_of(one.samples, report.confidence) for one in (a, b)]
    count = len(a.samples.target)
    found = paired_bootstrap(*statistics, count, resamples=resamples, seed=report.seed)
    scaled = None
    if report.temperature:
        calibrated = [_calibrated(one, options) for one in (a, b)]
        scaled = {letter: one.record for letter, one in zip("ab", calibrated, strict=True)}
        rest = [one.statistics for one in calibrated]
        left = scaled["a"]["before"]["count"]
        found |= paired_bootstrap(*rest, left, resamples=resamples, seed=report.seed)
    metrics = {name: _row(name, one) for name, one in found.items() if not (few and name == "top5")}
    # accuracy has an exact test, and its interval is drawn more often
    metrics["top1"] |= {"interval": accuracy["interval"], "p_value": accuracy["p_value"]}
    wanted = [name for name in COMPARED if report.temperature or name not in TEMPERATURE]
    missing = [name for name in wanted if name not in metrics and not (few and name == "top5")]
    record = {"b": b.model, **accuracy, "metrics": metrics, "not_compared": missing}
    return record | ({"temperature": scaled} if scaled else {})


def _row(name: str, found: Difference) -> dict[str, Any]:
    return {
        "a": found.a,
        "b": found.b,
        "difference": found.b - found.a,
        "interval": list(found.interval),
        "p_value": found.p_value,
        "lower_is_better": COMPARED[name].lower_is_better,
    }


def _correct_together(comparisons: list[dict[str, Any]], resamples: int) -> None:
    """Correct the p-values of all metrics of all comparisons for each other, and say which model is better."""
    rows = [row for one in comparisons for row in one["metrics"].values()]
    smallest = 2 / (resamples + 1) * len(rows)
    if smallest >= SIGNIFICANT:
        logger.warning(
            "--resamples %d: over %d comparisons no corrected bootstrap p-value can be below %.2g; take %d or more",
            *(resamples, len(rows), smallest, math.ceil(2 * len(rows) / SIGNIFICANT)),
        )
    for row, p_value in zip(rows, holm([row["p_value"] for row in rows]), strict=True):
        row["p_holm"], row["better"] = p_value, None
        if p_value < SIGNIFICANT and row["difference"]:
            row["better"] = "b" if (row["difference"] < 0) == row["lower_is_better"] else "a"


@dataclass
class _Calibrated:
    record: dict[str, Any]
    statistics: list[Statistic]


def _calibrated(side: Predictions, options: ValidateOptions) -> _Calibrated:
    """A temperature fitted on some images, and the calibration error of the others; the same images on every side."""
    samples, report = side.samples, options.report
    if samples.logits is None:
        raise UserError(f"--temperature: {side.model} has no logits; write --predictions again, as a .npz file")
    try:
        record = calibrate(samples.logits, samples.target, report.temperature, report.seed)
    except ValueError as error:
        raise UserError(f"--temperature: {error}") from None
    _, rest = held_out(len(samples.target), report.temperature, report.seed)
    statistics = []
    for name, temperature in (("ece_before", 1.0), ("ece_after", record["temperature"])):
        logits = torch.from_numpy(samples.logits[rest]).double() / temperature
        confidence = logits.softmax(dim=1).amax(dim=1).numpy()
        statistics.append(calibration(name, confidence, samples.correct[rest]))
    return _Calibrated(record, statistics)


def _source(side: Side, sides: tuple[Side, ...], options: ValidateOptions) -> ImageSource | None:
    """The images of a side; a model without data of its own takes those of the run it is compared with."""
    if side.evaluated is None:
        return None
    runs = [other.evaluated.run for other in (side, *sides) if other.evaluated and other.evaluated.run]
    return evaluation_source(options, runs[0] if runs else None)


def _check_same(sides: tuple[Side, Side], sources: list[ImageSource | None], options: ValidateOptions) -> None:
    prints, names = [], []
    for side, source in zip(sides, sources, strict=True):
        known = side.predictions
        prints.append(known.fingerprint if known else source.fingerprint())
        data = known.data if known else data_name(options, side.evaluated.run)
        names.append(f"{side.title} on {len(known.samples.target) if known else len(source)} images of {data}")
    if prints[0] != prints[1]:
        raise UserError(
            f"other images: {names[0]}, {names[1]}; --dataset or --data-dir, --split and --num-samples hold for both"
        )


def _predictions(
    side: Side, source: ImageSource | None, loaded: Loaded[ValidateOptions], processes: Processes
) -> Predictions:
    if side.predictions is not None:
        return side.predictions
    found = evaluate_model(side.evaluated, loaded, processes, source, loaded.options.data.retry)
    weights, samples = next(iter(found.samples.items()))
    name = found.record["subject"] + ("" if weights == "weights" else f" ({WEIGHTS[weights]})")
    return Predictions(samples, name, found.record["data"], source.fingerprint())
