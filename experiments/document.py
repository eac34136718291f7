"""docs/results.md and its figures, from results/TABLE/*.json: python -m experiments report"""

from __future__ import annotations

import argparse
import re
from pathlib import Path

import numpy as np

from experiments.groups import Group, grouped
from experiments.jobs import RESULTS
from experiments.markdown import markdown_table
from experiments.measures import TOP1, metric_of
from experiments.plots import grid_figure, rows_figure
from experiments.published import KEYS
from experiments.record import load_records, records_by_settings
from experiments.sections import section
from experiments.table_file import TABLES, read_table, table_names
from experiments.tables import Table
from sosr_timm.errors import UserError
from sosr_timm.files import write_text
from tools.checkout import ROOT

DOCUMENT = ROOT / "docs" / "results.md"
PAPERS = ("sosr", "ols", "maxsup", "zipf")
FIGURES = "results"  # beside the document
HEAD = """\
# Results

Written by `python -m experiments report` from the records in `results/TABLE/`; nothing here is typed. How to
run a table: [experiments.md](experiments.md).

- Published: mean ± standard deviation, as printed. Ours: mean ± half the width of its 95 % interval by Student's t over
  n seeds; a single run has no interval.
- Best epoch: the best on the evaluation set, as the papers report it, chosen on the images it is measured on. Last
  epoch: chosen on nothing.
- A row without a run says "not run". Runs on another data set, for other epochs or on fewer samples stand in a part of
  their own that says so.
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
    text, figures = document(results)
    folder = DOCUMENT.parent / FIGURES
    folder.mkdir(exist_ok=True)
    for name, draw in figures.items():
        draw(folder / name)
    for old in folder.glob("*.png"):
        if old.name not in figures:
            old.unlink()
    write_text(DOCUMENT, text)
    print(f"{DOCUMENT.relative_to(ROOT)} and {len(figures)} figures written")
    return 0


def document(results: Path = RESULTS, tables: Path = TABLES) -> tuple[str, dict]:
    """The text, and its figures: name -> a function that draws it into a file.

    Raises:
        UserError: a fault in a table, or a record that cannot be read.
    """
    figures: dict = {}
    read = sorted((read_table(name, tables) for name in table_names(tables)), key=place_of)
    done = [table_section(table, results, figures) for table in read]
    overview = []
    for table, (_, groups) in zip(read, done, strict=True):
        planned = sum(row.seeds for row in table.rows if not row.absent)
        reduced = sum(len(group.runs) for group in groups[1:])
        counts = (f"{len(groups[0].runs)} of {planned}", str(reduced))
        overview.append([f"[{table.name}](#{table.name})", table.title, *counts])
    columns = ("table", "title", "runs as the table says", "other runs")
    parts = [HEAD.strip(), markdown_table(columns, overview, columns[2:]), *(text for text, _ in done)]
    return "\n\n".join(parts) + "\n", figures


def place_of(table: Table) -> tuple[int, str]:
    """Our own tables first, then those of the papers, in the order of `PAPERS`."""
    papers = [position for position, paper in enumerate(PAPERS) if table.name.startswith(paper)]
    return (papers[0] if papers and table.published else -1, table.name)


def table_section(table: Table, results: Path, figures: dict) -> tuple[str, list[Group]]:
    """A table's section and its groups; its figures are added to `figures`."""
    try:
        groups, left_out = grouped(table, load_records(results / table.name), records_by_settings(results))
    except ValueError as error:
        raise UserError(str(error)) from None

    def picture(group: Group) -> str | None:
        draw = figure_of(table, group)
        if draw is None:
            return None
        slug = re.sub(r"[^A-Za-z0-9]+", "_", group.title).strip("_")
        name = f"{table.name}{'-' if slug else ''}{slug}.png"
        figures[name] = draw
        return f"{FIGURES}/{name}"

    return section(table, groups, left_out, picture), groups


def figure_of(table: Table, group: Group):
    """What draws a group's figure into a file; None where fewer than two rows are run."""
    measure = metric_of(table.metrics[0]) or TOP1
    rows = [row for row in table.rows if group.of(row)]
    if len(rows) < 2:
        return None
    in_grid = [row for row in rows if len(row.key.keys() - set(KEYS)) == 2]
    if len(in_grid) > 1:
        names = tuple(name for name in in_grid[0].key if name not in KEYS)
        values = {tuple(row.key[name] for name in names): group.mean(row, measure, "best") for row in in_grid}
        reference = table.reference_of(in_grid[0])
        without = group.mean(reference, measure, "best") if reference else None
        return lambda path: grid_figure(path, names, values, without, f"{measure.title}, best epoch")
    best, last = ({row.title: group.mean(row, measure, epoch) for row in rows} for epoch in ("best", "last"))
    curves = {row.title: mean_curve([record.curve for record in group.of(row).values()]) for row in rows}
    return lambda path: rows_figure(path, best, last, curves, measure.title)


def mean_curve(curves: list[list[float]]) -> list[float]:
    """The mean over runs after each epoch that all of them have."""
    shortest = min(map(len, curves))
    return np.mean([curve[:shortest] for curve in curves], axis=0).tolist()
