"""What an evaluation leaves behind: the table on the screen, evaluation.json, the reliability diagram."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

from rich.console import Console as RichConsole
from rich.table import Table

from sosr_timm import results
from sosr_timm.metrics.plots import reliability_plot

RECORD, RELIABILITY = "evaluation.json", "reliability.png"
COLUMNS = {"top1": "top-1 %", "top5": "top-5 %", "loss": "NLL", "ece": "ECE", "brier": "Brier"}


def show(record: dict[str, Any]) -> None:
    """The figures as a table on standard output."""
    table = Table(title=f"{record['subject']} on {record['data']}", title_justify="left")
    for title in ("", *COLUMNS.values(), "images", "images/s"):
        table.add_column(title, justify="right" if title else "left")
    for title, metrics in record["weights"].items():
        values = [f"{metrics[name]:.{2 if '%' in head else 4}f}" for name, head in COLUMNS.items()]
        rate = record["speed"][title]["images_per_second"]
        table.add_row(title, *values, f"{metrics['count']:,}", f"{rate:,.0f}")
    print_table(table)


def print_table(table: Table) -> None:
    """A table on standard output, 120 columns wide where that is no terminal."""
    RichConsole(width=None if RichConsole().is_terminal else 120).print(table)


def say(record: Any) -> None:
    """The record as one line of JSON, the last of standard output."""
    print(json.dumps(record), flush=True)


def write_folder(folder: Path, record: dict[str, Any]) -> None:
    """evaluation.json and reliability.png.

    Raises:
        OSError: they cannot be written.
    """
    results.write_json(folder / RECORD, record)
    reliability_plot(folder / RELIABILITY, record["weights"], f"{record['subject']} on {record['data']}")
