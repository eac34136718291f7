"""`status` and `list`: which runs of a table are done, running, failed, stopped or missing."""

from __future__ import annotations

import argparse
from collections import Counter
from collections.abc import Mapping
from typing import Any

from rich.box import SIMPLE_HEAD
from rich.console import Console
from rich.table import Table as Grid

from experiments.command_line import changes_of, places_of
from experiments.metrics import metric_of
from experiments.table_file import read_table, table_names
from experiments.tables import PaperTable
from sosr_timm.errors import UserError
from sosr_timm.runner.jobs import DONE, FAILED, MISSING, RUNNING, STOPPED, Job, plan_jobs
from sosr_timm.runner.record import Record, load_records, records_by_settings
from sosr_timm.runner.tables import Row, choose_rows

STATES = (DONE, RUNNING, FAILED, STOPPED, MISSING)


def status(parsed: argparse.Namespace, extra: Mapping[str, Any]) -> int:
    """Print the state of a table's runs, or of all tables; returns the exit code 0.

    Raises:
        UserError: an invalid table, or incompatible options.
    """
    names = table_names() if parsed.table == "all" else [parsed.table]
    console = Console() if Console().is_terminal else Console(width=160)  # a file has no width
    if parsed.command == "list":
        console.print(overview(parsed))
        return 0
    for name in names:
        table = read_table(name)
        rows = choose_rows(table, parsed.only)
        jobs = plan_jobs(table, rows, parsed.seeds, changes_of(parsed, dict(extra)), places_of(parsed))
        results = places_of(parsed).results
        records = [*load_records(results / name), *records_by_settings(results).values()]
        console.print(grid_of(table, rows, jobs, records))
    return 0


def grid_of(table: PaperTable, rows: list[Row], jobs: list[Job], records: list[Record]) -> Grid:
    """One line for each row: how many seeds are in which state, the published value and the best so far."""
    name = table.metrics[0]
    grid = Grid(title=f"{table.name}: {table.title}", caption=table.note or None, title_justify="left")
    grid.add_column("row", overflow="fold")
    for column in (*STATES, "published", f"best {name} so far"):
        grid.add_column(column, justify="right")
    for row in rows:
        values = table.published_values(row)
        published = str(values[0]) if values else "-"
        if row.absent:
            grid.add_row(row.title, f"[dim]{row.absent}[/dim]", *[""] * (len(STATES) - 1), published, "")
            continue
        own = [job for job in jobs if job.row is row]
        counts = Counter(job.state for job in own)
        cells = [str(counts[state]) if counts[state] else "" for state in STATES]
        metric = metric_of(name)
        keys = {job.key for job in own}
        found = [metric.of(record.run.best) for record in records if record.key in keys] if metric else []
        best = f"{(max if metric.higher_is_better else min)(found):.2f}" if metric and found else "-"
        grid.add_row(row.title, *cells, published, best)
    return grid


def overview(parsed: argparse.Namespace) -> Grid:
    """A row for each table.

    Raises:
        UserError: a damaged record.
    """
    grid = Grid(title="tables of experiments/", title_justify="left", box=SIMPLE_HEAD)
    grid.add_column("table", no_wrap=True, overflow="ignore")  # a name that is to be typed is never cut
    grid.add_column("title")
    for column in ("rows", "rows not run", "runs", "done"):
        grid.add_column(column, justify="right")
    for name in table_names():
        table = read_table(name)
        ours = [row for row in table.rows if not row.absent]
        try:
            done = [record for record in load_records(places_of(parsed).results / name) if not record.conditions]
        except ValueError as error:
            raise UserError(str(error)) from None
        counts = (len(ours), len(table.rows) - len(ours), sum(row.seeds for row in ours), len(done))
        grid.add_row(name, table.title, *map(str, counts))
    return grid
