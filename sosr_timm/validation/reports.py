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
from sosr_timm.metrics.titles import AVERAGES, ONE_CLASS, WEIGHTS, Title, titles
from sosr_timm.text import counted
from sosr_timm.validation.evaluation import Evaluation

RECORD, RELIABILITY = "evaluation.json", "reliability.png"


def show(record: dict[str, Any], average: str | None = None) -> None:
    """Print the metrics of an evaluation as a table.

    Args:
        record: of the evaluation.
        average: which average of precision, recall and F1 to show too.
    """
    table = Table(title=f"{record['subject']} on {record['data']}", title_justify="left")
    averages = AVERAGES if average else {}
    real = any("real_labels" in metrics for metrics in record["weights"].values())
    shown = titles("task" in record, record["num_classes"])
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
    print_table(table)


def _values(metrics: dict[str, Any], shown: dict[str, Title]) -> list[str]:
    return [title.value(metrics[name]) for name, title in shown.items()]


def temperature_rows(name: str, metrics: dict[str, Any]) -> dict[str, dict[str, Any]]:
    """The metrics of the images that no temperature was fitted on, before and after it, by their title."""
    found = metrics.get("temperature")
    if found is None:
        return {}
    return {f"{name}, held out": found["before"], f"{name}, T = {found['temperature']:.3f}": found["after"]}


def show_rows(rows: list[dict[str, Any]], num_classes: int | None) -> None:
    """Print the results of a list as a table, in their order.

    Args:
        rows: as in a results file.
        num_classes: of the data set, where known.
    """
    table = Table(title=counted(len(rows), "result"), title_justify="left")
    shown = titles(any("map" in row for row in rows), num_classes)
    table.add_column("model", overflow="fold")
    for heading in (*(title.heading for title in shown.values()), "images/s"):
        table.add_column(heading, justify="right")
    for row in rows:
        name = " ".join(filter(None, (row["model"], Path(row.get("checkpoint", "")).name)))
        if row.get("error"):
            table.add_row(f"{name}: {row['error']}")
            continue
        table.add_row(name, *_values(row, shown), f"{row['images_per_second']:,.0f}")
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
        panels |= {WEIGHTS[title]: metrics, **temperature_rows(WEIGHTS[title], metrics)}
    about = f"{record['subject']} on {record['data']}"
    reliability_plot(folder / RELIABILITY, panels, f"Reliability of {about}")
    if not per_class:
        return
    for title, samples in found.samples.items():
        suffix = "" if len(found.samples) == 1 else "_" + title.replace(" ", "_")
        matrix = confusion_matrix(samples.target, samples.guesses[:, 0], found.classes)
        names = found.class_names or tuple(str(number) for number in range(found.classes))
        confusion_plot(folder / f"confusion{suffix}.png", matrix, names, f"Confusion of {about} ({WEIGHTS[title]})")
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
