"""The tables of a page as Markdown and CSV."""

from __future__ import annotations

import csv
import io
from typing import Any

from sosr_timm.metrics.titles import Title
from sosr_timm.page.content import EPOCHS, Content
from sosr_timm.text import markdown_table

COLUMNS = (
    *("loss", "epoch", "metric", "runs", "mean", "half_width"),
    *("difference", "difference_half_width", "p", "p_holm", "seeds", "values"),
)
# A cell that begins with one of these is a formula to a spreadsheet.
FORMULA = ("=", "+", "-", "@", "\t", "\r")


def as_csv(content: Content) -> str:
    """A row for each group, epoch and metric, with every digit; the values of the seeds are joined by spaces."""
    text = io.StringIO()
    writer = csv.writer(text, lineterminator="\n")
    writer.writerow(COLUMNS)
    for group in content.groups:
        for epoch in EPOCHS:
            for name, value in group.values.get(epoch, {}).items():
                compared = value.get("difference") or {}
                by_seed = value.get("values", {})
                writer.writerow(
                    (
                        *(as_text(group.label), epoch, as_text(name), value["n"], value["mean"], value["half_width"]),
                        *(compared.get(key) for key in ("mean", "half_width", "p", "p_holm")),
                        *(" ".join(by_seed), " ".join(map(repr, by_seed.values()))),
                    )
                )
    return text.getvalue()


def as_text(words: str) -> str:
    """Words that no spreadsheet takes for a formula."""
    return f"'{words}" if words.startswith(FORMULA) else words


def as_markdown(content: Content) -> str:
    """Summary, tables, options that differ, commands and notes."""
    parts = [f"# {one_line(content.title)}", *map(one_line, content.summary)]
    for epoch, title in EPOCHS.items():
        shown = [
            name for name in content.metrics if any(name in group.values.get(epoch, {}) for group in content.groups)
        ]
        if shown:
            parts += [f"## {title}", values_table(content, epoch, shown)]
    if content.different:
        labels = [group.label for group in content.groups]
        rows = [
            [code(label), *(code(str(values.get(label))) for values in content.different.values())] for label in labels
        ]
        parts += ["## Options that differ", markdown_table(("loss", *content.different), rows)]
    commands = "\n".join(f"    {one_line(run.command)}" for run in content.runs if run.command)
    if commands:
        parts += ["## Commands", commands]
    if content.notes:
        parts += ["## How to read this", "\n".join(f"- {one_line(note)}" for note in content.notes)]
    return "\n\n".join(parts) + "\n"


def values_table(content: Content, epoch: str, shown: list[str]) -> str:
    columns = ("loss", *(content.metrics[name].heading for name in shown), "runs")
    rows = []
    for group in content.groups:
        values = group.values.get(epoch, {})
        count = max((value["n"] for value in values.values()), default=0)
        rows.append([code(group.label), *(cell(content.metrics[name], values.get(name)) for name in shown), str(count)])
    return markdown_table(columns, rows, columns[1:])


def cell(title: Title, value: dict[str, Any] | None) -> str:
    if not value:
        return "-"
    interval = "" if value["half_width"] is None else f" ± {title.value(value['half_width'])}"
    return title.value(value["mean"]) + interval


def one_line(words: str) -> str:
    return " ".join(words.split())


def code(words: str) -> str:
    """Words as Markdown shows them letter by letter, whatever marks they hold."""
    words = one_line(words)
    fence = "`" * (1 + max((len(run) for run in "".join(c if c == "`" else " " for c in words).split()), default=0))
    pad = " " if words.startswith("`") or words.endswith("`") or not words else ""
    return f"{fence}{pad}{words}{pad}{fence}"
