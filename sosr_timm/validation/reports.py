"""What an evaluation leaves behind: the table on the screen, evaluation.json, the reliability diagram."""

from __future__ import annotations

import csv
import json
from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import Any

from rich.console import Console as RichConsole
from rich.table import Table

from sosr_timm.files import replacing, write_json
from sosr_timm.metrics.confusion import ClassCounts, confusion_matrix
from sosr_timm.metrics.plots import confusion_plot, reliability_plot
from sosr_timm.validation.evaluation import Evaluation

RECORD, RELIABILITY = "evaluation.json", "reliability.png"
SCORES = {"precision": "prec. %", "recall": "recall %", "f1": "F1 %"}
COLUMNS = {"top1": "top-1 %", "top5": "top-5 %", "loss": "NLL", "ece": "ECE", "brier": "Brier"}
MANY_LABELS = {
    "map": "mAP %",
    "micro_f1": "micro F1 %",
    "macro_f1": "macro F1 %",
    "sample_f1": "sample F1 %",
    "loss": "BCE",
}


def show(record: dict[str, Any], average: str | None = None) -> None:
    """The figures as a table on standard output.

    Args:
        record: of the evaluation.
        average: of precision, recall and F1 to show too.
    """
    table = Table(title=f"{record['subject']} on {record['data']}", title_justify="left")
    scores = SCORES if average else {}
    real = any("real_labels" in metrics for metrics in record["weights"].values())
    columns = MANY_LABELS if "task" in record else COLUMNS
    heads = [*columns.values(), *(f"{average} {head}" for head in scores.values())]
    for title in ("", *heads, *(("ReaL top-1 %",) if real else ()), "images", "images/s"):
        table.add_column(title, justify="right" if title else "left", no_wrap=not title)
    for title, metrics in record["weights"].items():
        values = _values(metrics, columns)
        values += [f"{100 * metrics['averages'][average][name]:.2f}" for name in scores]
        values += [f"{metrics['real_labels']['top1']:.2f}"] if real else []
        rate = record["speed"][title]["images_per_second"]
        table.add_row(title, *values, f"{metrics['count']:,}", f"{rate:,.0f}")
        for part, others in temperature_rows(title, metrics).items():
            empty = [""] * (len(values) - len(columns))
            table.add_row(part, *_values(others, columns), *empty, f"{others['count']:,}", "")
    print_table(table)


def _values(metrics: dict[str, Any], columns: dict[str, str]) -> list[str]:
    return [f"{metrics[name]:.{2 if '%' in head else 4}f}" for name, head in columns.items()]


def temperature_rows(title: str, metrics: dict[str, Any]) -> dict[str, dict[str, Any]]:
    """The metrics of the images that no temperature was fitted on, before and after it, by what to call them."""
    found = metrics.get("temperature")
    if found is None:
        return {}
    return {f"{title}, held out": found["before"], f"{title}, T = {found['temperature']:.3f}": found["after"]}


def show_rows(rows: list[dict[str, Any]]) -> None:
    """The results of a list as a table on standard output, in their order."""
    table = Table(title=f"{len(rows)} results", title_justify="left")
    many = any("map" in row for row in rows)
    heads = MANY_LABELS if many else {name: COLUMNS[name] for name in ("top1", "top5", "loss", "ece")}
    heads = heads | {"images_per_second": "images/s"}
    for title in ("model", *heads.values()):
        table.add_column(title, justify="left" if title == "model" else "right")
    for row in rows:
        name = " ".join(filter(None, (row["model"], Path(row.get("checkpoint", "")).name)))
        if row.get("error"):
            table.add_row(f"{name}: {row['error']}")
            continue
        digits = {"loss": 4, "ece": 4, "images_per_second": 0}
        table.add_row(name, *(f"{row[key]:,.{digits.get(key, 2)}f}" for key in heads))
    print_table(table)


def print_table(table: Table) -> None:
    """A table on standard output, 120 columns wide where that is no terminal."""
    RichConsole(width=None if RichConsole().is_terminal else 120).print(table)


def say(record: Any) -> None:
    """The record as one line of JSON, the last of standard output."""
    print(json.dumps(record), flush=True)


def write_folder(folder: Path, found: Evaluation, per_class: bool) -> None:
    """evaluation.json; of one class per image reliability.png; with `per_class` classes.csv, confusion.csv and .png.

    Raises:
        OSError: they cannot be written.
    """
    record = found.record
    write_json(folder / RECORD, record)
    if "task" in record:
        return
    panels: dict[str, dict[str, Any]] = {}
    for title, metrics in record["weights"].items():
        panels |= {title: metrics, **temperature_rows(title, metrics)}
    reliability_plot(folder / RELIABILITY, panels, f"{record['subject']} on {record['data']}")
    if not per_class:
        return
    for title, samples in found.samples.items():
        suffix = "" if len(found.samples) == 1 else "_" + title.replace(" ", "_")
        matrix = confusion_matrix(samples.target, samples.guesses[:, 0], found.classes)
        names = found.class_names or tuple(str(number) for number in range(found.classes))
        confusion_plot(folder / f"confusion{suffix}.png", matrix, names)
        write_table(folder / f"confusion{suffix}.csv", [["label", *names], *_named(names, matrix.tolist())])
        counts = ClassCounts.of(samples.target, samples.guesses[:, 0], found.classes)
        scores = counts.per_class()
        columns = [*(values.tolist() for values in scores.values()), counts.count.tolist()]
        write_table(
            folder / f"classes{suffix}.csv", [["class", *scores, "count"], *_named(names, zip(*columns, strict=True))]
        )


def _named(names: Sequence[str], rows: Iterable[Sequence[Any]]) -> list[list[Any]]:
    return [[name, *row] for name, row in zip(names, rows, strict=True)]


def write_table(path: Path, rows: Iterable[Sequence[Any]]) -> None:
    """Rows as CSV, whole or not at all."""
    with replacing(path) as temporary, open(temporary, "w", newline="", encoding="utf-8") as file:
        csv.writer(file, lineterminator="\n").writerows(rows)
