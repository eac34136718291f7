"""What a comparison prints and writes: tables, sentences, comparison.json and the risk-coverage plot of all models."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from rich.table import Table

from sosr_timm.files import must_write, write_json
from sosr_timm.metrics.risk_plot import risk_coverage_plot
from sosr_timm.metrics.selective import selective_classification
from sosr_timm.metrics.titles import ADAPTIVE, CLASSWISE, CONFIDENCE_NAMES, ONE_CLASS, SELECTIVE, TEMPERATURE
from sosr_timm.options.validate import ValidateOptions
from sosr_timm.validation.predictions import Predictions
from sosr_timm.validation.reports import Output
from sosr_timm.validation.results_file import format_of, write_results

RECORD, PLOT = "comparison.json", "risk_coverage_compared.png"
TITLES = {**ONE_CLASS, "ece_adaptive": ADAPTIVE, "ece_classwise": CLASSWISE, **SELECTIVE, **TEMPERATURE}
# Not part of a row of a results file.
NESTED = ("interval", "environment", "metrics", "not_compared", "temperature", "comparisons")


def report_comparison(
    record: dict[str, Any],
    comparisons: list[dict[str, Any]],
    found: list[Predictions],
    run_folder: Path | None,
    options: ValidateOptions,
) -> None:
    """Print and write a comparison.

    Args:
        record: as comparison.json holds it.
        comparisons: of each other model with the first.
        found: the predictions of all, the first one's first.
        run_folder: of the first one, for the files where no other folder is named.
        options: of the evaluation.
    """
    output, report = Output(options.report.json), options.report
    for comparison in comparisons:
        output.table(_accuracies(record, comparison))
        low, high = comparison["interval"]
        chance = f"p = {comparison['p_value']:.4g} ({record['test']})"
        spread = f"{low:+.2f} to {high:+.2f} ({record['interval_method']}, {comparison['resamples']:,} resamples)"
        output.line(f"B - A: {comparison['difference']:+.2f} points, 95 % interval {spread}; {chance}")
        output.table(_metrics(record, comparison))
        for sentence in sentences(record, comparison):
            output.line(sentence)
    folder = report.output or run_folder
    if folder:
        with must_write(Path(folder) / RECORD):
            write_json(Path(folder) / RECORD, record)
            _plot(Path(folder) / PLOT, record, found, report.confidence)
    if report.results_file:
        rows = []
        for comparison in comparisons:
            row = {name: value for name, value in (record | comparison).items() if name not in NESTED}
            rows.append(row | dict(zip(("low", "high"), comparison["interval"], strict=True)))
        write_results(report.results_file, format_of(report.results_file, report.results_format), rows, record)
    output.result(record)


def sentences(record: dict[str, Any], comparison: dict[str, Any]) -> list[str]:
    """Which model is better, by which metrics."""
    by: dict[str | None, list[str]] = {"a": [], "b": [], None: []}
    for name, row in comparison["metrics"].items():
        by[row["better"]].append(TITLES[name].name)
    models = {"a": f"A ({record['a']})", "b": f"B ({comparison['b']})"}
    found = [f"{models[letter]} is better by {_listed(by[letter])}." for letter in "ab" if by[letter]]
    if by[None]:
        found.append(
            f"No difference beyond chance by {_listed(by[None])} (p of at least 0.05; {record['correction']})."
        )
    if comparison["not_compared"]:
        missing = _listed([TITLES[name].name for name in comparison["not_compared"]])
        found.append(f"Not compared: {missing}; the predictions hold no scores or logits for that, or too many.")
    return found


def _listed(names: list[str]) -> str:
    return ", ".join(names[:-1]) + (" and " if len(names) > 1 else "") + names[-1]


def _accuracies(record: dict[str, Any], comparison: dict[str, Any]) -> Table:
    table = Table(title=f"{comparison['count']:,} images of {record['data']}", title_justify="left")
    for head in ("", ONE_CLASS["top1"].heading, "right alone"):
        table.add_column(head, justify="right" if head else "left")
    for letter, model in (("a", record["a"]), ("b", comparison["b"])):
        top1, alone = comparison[f"top1_{letter}"], comparison[f"only_{letter}"]
        table.add_row(f"{letter.upper()}: {model}", ONE_CLASS["top1"].value(top1), f"{alone:,}")
    return table


def _metrics(record: dict[str, Any], comparison: dict[str, Any]) -> Table:
    confidence = CONFIDENCE_NAMES[record["confidence"]]
    title = f"Every metric, selective classification by {confidence}; p corrected ({record['correction']})"
    table = Table(title=title, title_justify="left")
    for head in ("", "A", "B", "B - A", "95 % interval", "p", "better"):
        table.add_column(head, justify="right" if head else "left")
    for name, row in comparison["metrics"].items():
        shown = TITLES[name]
        low, high, difference = (f"{value:+,.{shown.digits}f}" for value in (*row["interval"], row["difference"]))
        better = (row["better"] or "-").upper()
        values = [shown.value(row["a"]), shown.value(row["b"]), difference, f"{low} to {high}"]
        table.add_row(shown.heading, *values, f"{row['p_holm']:.4f}", better)
    return table


def _plot(path: Path, record: dict[str, Any], found: list[Predictions], confidence: str) -> None:
    """Draw the curves of all models that have the confidence."""
    curves = {}
    for number, one in enumerate(found):
        metrics = selective_classification(one.samples)
        if confidence in metrics:
            name = f"{chr(ord('A') + number)}: {one.model}"
            curves[name] = {**metrics[confidence], "coverage": metrics["coverage"]}
    if curves:
        by = CONFIDENCE_NAMES[confidence]
        risk_coverage_plot(path, curves, f"Risk and coverage by {by} on {record['data']}")
