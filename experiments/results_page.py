"""docs/results.md and its plots, from results/TABLE/*.json: python -m experiments report"""

from __future__ import annotations

import argparse
import re
from pathlib import Path

import numpy as np

from experiments.command_line import RESULTS
from experiments.groups import Group, grouped
from experiments.metrics import TOP1, metric_of
from experiments.plots import grid_plot, rows_plot
from experiments.published import KEYS
from experiments.sections import section
from experiments.table_file import TABLES, read_table, table_names
from experiments.tables import PaperTable
from sosr_timm.errors import UserError
from sosr_timm.files import write_text
from sosr_timm.runner.record import load_records, records_by_settings
from sosr_timm.text import counted, markdown_table
from tools.checkout import ROOT

DOCUMENT = ROOT / "docs" / "results.md"
PAPERS = ("sosr", "ols", "maxsup", "zipf")
PLOTS = "results"  # beside the document
HEAD = """\
# Results

Written by `python -m experiments report` from the records in `results/TABLE/`; nothing is typed by hand. How to run a
table: [experiments.md](experiments.md).

- Published: mean ± standard deviation, as printed. Ours: mean ± half the width of its 95 % interval by Student's t over
  n seeds; a single run has no interval.
- Best epoch: the best on the evaluation set, as the papers report it. It is selected on the images that it is measured
  on, so it is optimistic. Last epoch: no selection.
- A row without a run says "not run". Runs on another data set, with other epochs or fewer samples have a section of
  their own.
- With two seeds, intervals are wider than the effects: ignore the p-values there.
"""


def report(parsed: argparse.Namespace) -> int:
    """Write the document, or print one table's section; returns the exit code 0.

    Raises:
        UserError: an unknown table, or a record that cannot be read.
    """
    results = parsed.results
    if parsed.table != "all":
        print(table_section(read_table(parsed.table), results, {})[0])
        return 0
    text, plots = document(results)
    folder = DOCUMENT.parent / PLOTS
    folder.mkdir(exist_ok=True)
    for name, draw in plots.items():
        draw(folder / name)
    for old in folder.glob("*.png"):
        if old.name not in plots:
            old.unlink()
    write_text(DOCUMENT, text)
    print(f"{DOCUMENT.relative_to(ROOT)} and {counted(len(plots), 'plot')} written")
    return 0


def document(results: Path = RESULTS, tables: Path = TABLES) -> tuple[str, dict]:
    """The text, and its plots: name -> a function that draws it into a file.

    Raises:
        UserError: an invalid table, or an unreadable record.
    """
    plots: dict = {}
    read = sorted((read_table(name, tables) for name in table_names(tables)), key=place_of)
    done = [table_section(table, results, plots) for table in read]
    overview = []
    for table, (_, groups) in zip(read, done, strict=True):
        planned = sum(row.seeds for row in table.rows if not row.absent)
        reduced = sum(len(group.runs) for group in groups[1:])
        counts = (f"{len(groups[0].runs)} of {planned}", str(reduced))
        overview.append([f"[{table.name}](#{table.name})", table.title, *counts])
    columns = ("table", "title", "runs as the table says", "other runs")
    parts = [HEAD.strip(), markdown_table(columns, overview, columns[2:]), *(text for text, _ in done)]
    return "\n\n".join(parts) + "\n", plots


def place_of(table: PaperTable) -> tuple[int, str]:
    """Our own tables first, then those of the papers, in the order of `PAPERS`."""
    papers = [position for position, paper in enumerate(PAPERS) if table.name.startswith(paper)]
    return (papers[0] if papers and table.published else -1, table.name)


def table_section(table: PaperTable, results: Path, plots: dict) -> tuple[str, list[Group]]:
    """A table's section and its groups; its plots are added to `plots`."""
    try:
        groups, unmatched = grouped(table, load_records(results / table.name), records_by_settings(results))
    except ValueError as error:
        raise UserError(str(error)) from None

    def picture(group: Group) -> str | None:
        draw = plot_of(table, group)
        if draw is None:
            return None
        slug = re.sub(r"[^A-Za-z0-9]+", "_", group.title).strip("_")
        name = f"{table.name}{'-' if slug else ''}{slug}.png"
        plots[name] = draw
        return f"{PLOTS}/{name}"

    return section(table, groups, unmatched, picture), groups


def plot_of(table: PaperTable, group: Group):
    """A function that draws a group's plot into a file; None if fewer than two rows have runs."""
    metric = metric_of(table.metrics[0]) or TOP1
    rows = [row for row in table.rows if group.of(row)]
    if len(rows) < 2:
        return None
    title = f"{table.title}: {group.title}" if group.title else table.title
    in_grid = [row for row in rows if len(row.key.keys() - set(KEYS)) == 2]
    if len(in_grid) > 1:
        names = tuple(name for name in in_grid[0].key if name not in KEYS)
        values = {tuple(row.key[name] for name in names): group.mean(row, metric, "best") for row in in_grid}
        reference = table.reference_of(in_grid[0])
        without = group.mean(reference, metric, "best") if reference else None
        return lambda path: grid_plot(path, title, names, values, without, f"{metric.title}, best epoch")
    best, last = ({row.title: group.mean(row, metric, epoch) for row in rows} for epoch in ("best", "last"))
    curves = {row.title: mean_curve([record.curve for record in group.of(row).values()]) for row in rows}
    return lambda path: rows_plot(path, title, best, last, curves, metric.title)


def mean_curve(curves: list[list[float]]) -> list[float]:
    """The mean over runs after each epoch that all runs have."""
    shortest = min(map(len, curves))
    return np.mean([curve[:shortest] for curve in curves], axis=0).tolist()
