"""What an evaluation prints and writes: tables, evaluation.json, plots of reliability and risk."""

from __future__ import annotations

import csv
import json
import sys
from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import Any

from rich.console import Console as RichConsole
from rich.table import Table

from sosr_timm.files import replacing, write_json
from sosr_timm.metrics.confidence import OOD_SCORES
from sosr_timm.metrics.confusion import ClassCounts, confusion_matrix
from sosr_timm.metrics.ood_plot import ood_plot
from sosr_timm.metrics.plots import confusion_plot, reliability_plot
from sosr_timm.metrics.risk_plot import risk_coverage_plot
from sosr_timm.metrics.titles import (
    AVERAGES,
    CLASSWISE,
    CONFIDENCE_NAMES,
    ONE_CLASS,
    OUT_OF_DISTRIBUTION,
    SELECTIVE,
    TEMPERATURE,
    WEIGHTS,
    Title,
    titles,
)
from sosr_timm.text import counted, width_of
from sosr_timm.validation.evaluation import Evaluation

RECORD, RELIABILITY, RISK_COVERAGE = "evaluation.json", "reliability.png", "risk_coverage.png"
WIDTH_OF_FILES = 160  # columns of a table that goes into a file


class Output:
    """Standard output of an evaluation: a table, and its JSON where that is asked for or the output is piped.

    Args:
        json: True: the JSON alone, so that a program can read it; the table goes to standard error. False: no JSON.
            None: the table, and where standard output is no terminal the JSON as its last line.
    """

    def __init__(self, json: bool | None):
        self.stream = sys.stderr if json else sys.stdout
        self.with_json = not sys.stdout.isatty() if json is None else json

    def table(self, table: Table) -> None:
        """Print a table, on a terminal to its width."""
        width = width_of(self.stream) or WIDTH_OF_FILES
        RichConsole(file=self.stream, width=width).print(table)

    def line(self, text: str) -> None:
        """Print a line."""
        print(text, file=self.stream, flush=True)

    def result(self, record: Any) -> None:
        """Print the result as one line of JSON, where it is wanted."""
        if self.with_json:
            print(json.dumps(record), flush=True)


def table_of(record: dict[str, Any], average: str | None = None) -> Table:
    """The metrics of an evaluation as a table.

    Args:
        record: of the evaluation.
        average: which average of precision, recall and F1 to show too.
    """
    table = Table(title=f"{record['subject']} on {record['data']}", title_justify="left")
    averages = AVERAGES if average else {}
    real = any("real_labels" in metrics for metrics in record["weights"].values())
    shown = titles("task" in record, record["num_classes"])
    if "task" not in record:
        shown = {**shown, "ece_classwise": CLASSWISE}
    headings = [title.heading for title in shown.values()]
    headings += [f"{average} {title.heading}" for title in averages.values()]
    headings += [f"ReaL {ONE_CLASS['top1'].heading}"] if real else []
    for heading in ("", *headings, "images", "images/s"):
        table.add_column(heading, justify="right" if heading else "left", no_wrap=not heading)
    for name, metrics in record["weights"].items():
        values = _values(metrics, shown)
        values += [title.value(100 * metrics["averages"][average][key]) for key, title in averages.items()]
        values += [ONE_CLASS["top1"].value(metrics["real_labels"]["top1"])] if real else []
        rate = record["speed"][name]["images_per_second"]
        table.add_row(WEIGHTS[name], *values, f"{metrics['count']:,}", f"{rate:,.0f}")
        for part, others in temperature_rows(WEIGHTS[name], metrics).items():
            empty = [""] * (len(values) - len(shown))
            table.add_row(part, *_values(others, shown), *empty, f"{others['count']:,}", "")
    return table


def _values(metrics: dict[str, Any], shown: dict[str, Title]) -> list[str]:
    return [title.value(metrics[name]) for name, title in shown.items()]


def temperature_rows(name: str, metrics: dict[str, Any]) -> dict[str, dict[str, Any]]:
    """The metrics of the images that no temperature was fitted on, before and after it, by their title."""
    found = metrics.get("temperature")
    if found is None:
        return {}
    return {f"{name}, held out": found["before"], f"{name}, T = {found['temperature']:.3f}": found["after"]}


def table_of_rows(rows: list[dict[str, Any]], num_classes: int | None) -> Table:
    """The results of a list as a table, in their order.

    Args:
        rows: as in a results file.
        num_classes: of the data set, where known.
    """
    table = Table(title=counted(len(rows), "result"), title_justify="left")
    many = any("map" in row for row in rows)
    shown = titles(many, num_classes) | ({} if many else {"aurc": SELECTIVE["aurc"]})
    scaled = TEMPERATURE if any("temperature" in row for row in rows) else {}
    table.add_column("model", overflow="fold")
    for heading in (*(title.heading for title in (shown | scaled).values()), "images/s"):
        table.add_column(heading, justify="right")
    for row in rows:
        name = " ".join(filter(None, (row["model"], Path(row.get("checkpoint", "")).name)))
        if row.get("error"):
            table.add_row(f"{name}: {row['error']}")
            continue
        table.add_row(name, *_values(row, shown | scaled), f"{row['images_per_second']:,.0f}")
    return table


def selective_table(record: dict[str, Any]) -> Table:
    """Selective classification by every confidence, as a table; for one class per image."""
    table = Table(title="Selective classification, by confidence", title_justify="left")
    table.add_column("")
    for title in SELECTIVE.values():
        table.add_column(title.heading, justify="right")
    for name, metrics in record["weights"].items():
        for confidence, found in confidences_of(metrics).items():
            prefix = f"{WEIGHTS[name]}: " if len(record["weights"]) > 1 else ""
            values = [title.value_or_dash(found[key]) for key, title in SELECTIVE.items()]
            table.add_row(prefix + confidence_name(confidence, found), *values)
    return table


def ood_table(record: dict[str, Any]) -> Table:
    """Detection of another data set's images by every score, as a table."""
    ood = next(iter(record["weights"].values()))["ood"]
    table = Table(title=f"{counted(ood['count'], 'image')} of {ood['data']} told apart, by score", title_justify="left")
    table.add_column("")
    for title in OUT_OF_DISTRIBUTION.values():
        table.add_column(title.heading, justify="right")
    for name, metrics in record["weights"].items():
        prefix = f"{WEIGHTS[name]}: " if len(record["weights"]) > 1 else ""
        for score in OOD_SCORES:
            values = [title.value(metrics["ood"][score][key]) for key, title in OUT_OF_DISTRIBUTION.items()]
            table.add_row(prefix + CONFIDENCE_NAMES[score], *values)
    return table


def confidences_of(metrics: dict[str, Any]) -> dict[str, dict[str, Any]]:
    """Selective classification of one set of weights by each confidence."""
    return {name: found for name, found in metrics["selective"].items() if name != "coverage"}


def confidence_name(name: str, found: dict[str, Any]) -> str:
    """A confidence as people read it, with its p."""
    return CONFIDENCE_NAMES[name] + (f", p = {found['p']:g}" if "p" in found else "")


def risk_curves(record: dict[str, Any]) -> dict[str, dict[str, Any]]:
    """The curves of a risk-coverage plot: each confidence of each set of weights."""
    curves = {}
    for title, metrics in record["weights"].items():
        prefix = f"{WEIGHTS[title]}, " if len(record["weights"]) > 1 else ""
        for name, found in confidences_of(metrics).items():
            curve = {**found, "coverage": metrics["selective"]["coverage"]}
            curves[prefix + confidence_name(name, found)] = curve
    return curves


def write_folder(folder: Path, found: Evaluation, per_class: bool) -> None:
    """Write evaluation.json, and for one class per image reliability.png and risk_coverage.png.

    Args:
        folder: to write into.
        found: the evaluation.
        per_class: write classes.csv, confusion.csv and confusion.png too.

    Raises:
        OSError: a file cannot be written.
    """
    record = found.record
    write_json(folder / RECORD, record)
    if "task" in record:
        return
    panels: dict[str, dict[str, Any]] = {}
    for title, metrics in record["weights"].items():
        panels |= {WEIGHTS[title]: metrics, **temperature_rows(WEIGHTS[title], metrics)}
    about = f"{record['subject']} on {record['data']}"
    reliability_plot(folder / RELIABILITY, panels, f"Reliability of {about}")
    risk_coverage_plot(folder / RISK_COVERAGE, risk_curves(record), f"Risk and coverage of {about}")
    for title, outside in found.outside.items():
        suffix = "_ema" if title == "ema" and len(found.samples) > 1 else ""
        names = (record["data"], record["weights"][title]["ood"]["data"])
        told = {CONFIDENCE_NAMES[score]: record["weights"][title]["ood"][score] for score in OOD_SCORES}
        pairs = [(found.samples[title].scores[score], outside.scores[score]) for score in OOD_SCORES]
        panels = dict(zip(told, zip(pairs, told.values(), strict=True), strict=True))
        ood_plot(folder / f"ood{suffix}.png", panels, names, f"Scores of {record['subject']} ({WEIGHTS[title]})")
    if not per_class:
        return
    for title, samples in found.samples.items():
        suffix = "_ema" if title == "ema" and len(found.samples) > 1 else ""
        matrix = confusion_matrix(samples.target, samples.guesses[:, 0], found.classes)
        names = found.class_names or tuple(str(number) for number in range(found.classes))
        confusion_plot(folder / f"confusion{suffix}.png", matrix, names, f"Confusion of {about} ({WEIGHTS[title]})")
        rows = [[name, *row] for name, row in zip(names, matrix.tolist(), strict=True)]
        write_table(folder / f"confusion{suffix}.csv", [["label", *names], *rows])
        counts = ClassCounts.of(samples.target, samples.guesses[:, 0], found.classes)
        metrics = counts.per_class()
        columns = [*(values.tolist() for values in metrics.values()), counts.count.tolist()]
        rows = [[name, number, *row] for number, (name, *row) in enumerate(zip(names, *columns, strict=True))]
        write_table(folder / f"classes{suffix}.csv", [["class", "number", *metrics, "count"], *rows])


def write_table(path: Path, rows: Iterable[Sequence[Any]]) -> None:
    """Write rows as CSV, completely or not at all."""
    with replacing(path) as temporary, open(temporary, "w", newline="", encoding="utf-8") as file:
        csv.writer(file, lineterminator="\n").writerows(rows)
