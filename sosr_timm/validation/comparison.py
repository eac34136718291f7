"""Two runs, checkpoints, models or files of predictions on the same images: which is better, and is it chance?"""

from __future__ import annotations

from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from rich.table import Table

from sosr_timm.data.sources.source import ImageSource
from sosr_timm.distributed.processes import Processes
from sosr_timm.environment import environment
from sosr_timm.errors import UserError
from sosr_timm.files import must_write, write_json
from sosr_timm.metrics.paired import compare_correct
from sosr_timm.metrics.titles import ONE_CLASS, WEIGHTS
from sosr_timm.options.load import Loaded
from sosr_timm.options.validate import ValidateOptions
from sosr_timm.setup.model import check_model_name
from sosr_timm.setup.stored_run import find_run
from sosr_timm.validation.data import data_name, evaluation_source
from sosr_timm.validation.evaluation import evaluate_model
from sosr_timm.validation.model_selection import EvaluatedModel, name_of_run
from sosr_timm.validation.predictions import Predictions, read_predictions
from sosr_timm.validation.reports import Output
from sosr_timm.validation.results_file import format_of, write_results

RECORD = "comparison.json"


@dataclass
class Side:
    """One of the two.

    Attributes:
        title: as it was named.
        evaluated: to evaluate, or None where predictions are there.
        predictions: of a file, or None.
    """

    title: str
    evaluated: EvaluatedModel | None = None
    predictions: Predictions | None = None


def find_sides(options: ValidateOptions) -> tuple[Side, Side]:
    """What --compare names.

    Raises:
        UserError: one of them is nothing that can be evaluated, or something else is named beside them.
    """
    chosen = options.model
    if chosen.model or chosen.checkpoint:
        raise UserError("--compare names what is evaluated: leave out --model and --checkpoint")
    first, second = (_side(name, options) for name in chosen.compare)
    return first, second


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
        raise UserError(f"--compare {name}: no such folder, no such file, and {error}") from None
    chosen = replace(options.model, model=name, pretrained=True)
    return Side(name, EvaluatedModel(name, replace(options, model=chosen)))


def run_comparison(sides: tuple[Side, Side], loaded: Loaded[ValidateOptions], processes: Processes) -> int:
    """Evaluate both on the same images and compare them; the table and one JSON go to standard output.

    Returns:
        0.

    Raises:
        UserError: the two have other images, or cannot be evaluated.
    """
    options = loaded.options
    sources = [_source(side, sides, options) for side in sides]
    _check_same(sides, sources, options)
    found = [_predictions(side, source, loaded, processes) for side, source in zip(sides, sources, strict=True)]
    if not processes.is_main:
        return 0
    a, b = (predictions.samples for predictions in found)
    if a.target.shape != b.target.shape or (a.target != b.target).any():
        raise UserError(f"{sides[0].title} and {sides[1].title}: the same images have other labels (--class-map?)")
    record = {
        "a": found[0].model,
        "b": found[1].model,
        "data": found[0].data,
        **compare_correct(a.correct, b.correct, seed=options.report.seed),
        "test": "exact McNemar test, two-sided",
        "interval_method": "paired percentile bootstrap",
        "environment": environment(),
    }
    _report(record, sides, options)
    return 0


def _source(side: Side, sides: tuple[Side, Side], options: ValidateOptions) -> ImageSource | None:
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


def _report(record: dict[str, Any], sides: tuple[Side, Side], options: ValidateOptions) -> None:
    table = Table(title=f"{record['count']:,} images of {record['data']}", title_justify="left")
    for head in ("", ONE_CLASS["top1"].heading, "right alone"):
        table.add_column(head, justify="right" if head else "left")
    for letter in "ab":
        text = f"{letter.upper()}: {record[letter]}"
        table.add_row(text, ONE_CLASS["top1"].value(record[f"top1_{letter}"]), f"{record[f'only_{letter}']:,}")
    output = Output(options.report.json)
    output.table(table)
    low, high = record["interval"]
    chance = f"p = {record['p_value']:.4g} ({record['test']})"
    spread = f"{low:+.2f} to {high:+.2f} ({record['interval_method']}, {record['resamples']:,} resamples)"
    output.line(f"B - A: {record['difference']:+.2f} points, 95 % interval {spread}; {chance}")
    run = sides[0].evaluated.run if sides[0].evaluated else None
    folder = options.report.output or (run.folder.path if run else None)
    if folder:
        with must_write(Path(folder) / RECORD):
            write_json(Path(folder) / RECORD, record)
    file = options.report.results_file
    if file:
        row = {name: value for name, value in record.items() if name not in ("interval", "environment")}
        write_results(file, format_of(file, options.report.results_format), [row | {"low": low, "high": high}], record)
    output.result(record)
