"""An analysis from its command line to its files."""

from __future__ import annotations

import csv
from pathlib import Path
from typing import Any

import torch
from rich.table import Table

import sosr_timm.analysis.catalog  # noqa: F401 - registers every analysis
from sosr_timm.analysis.registry import ANALYSES, Analysis, AnalyzeOptions, Result, groups_of
from sosr_timm.analysis.subjects import Subject, find_subjects
from sosr_timm.distributed.processes import start_processes
from sosr_timm.environment import environment
from sosr_timm.errors import UserError
from sosr_timm.files import must_write, replacing, write_json
from sosr_timm.options.load import Loaded, load
from sosr_timm.options.validate import EvaluatedModelOptions
from sosr_timm.tracking.console import logger, show_log, show_notes
from sosr_timm.validation.main import precision_of
from sosr_timm.validation.reports import Output

# Options of the data that only an evaluation has a use for.
OF_VALIDATE = ("real_labels", "ood_dataset", "ood_data_dir", "ood_split", "ood_num_samples")


def usage() -> str:
    """What `sosr-analyze --help` prints: every analysis with what it shows."""
    width = max(map(len, ANALYSES))
    lines = [f"  {name:{width}}  {ANALYSES[name].summary} ({ANALYSES[name].source})" for name in ANALYSES]
    return "\n".join(
        [
            "sosr-analyze NAME RUN_OR_MODEL ... [options]    one analysis of one or several runs and timm models",
            "",
            *lines,
            "",
            "`sosr-analyze NAME --help` lists the options of one. Without the command: python -m sosr_timm.analysis.",
        ]
    )


def chosen_analysis(name: str) -> Analysis:
    """The analysis of a name.

    Raises:
        UserError: there is none; with the close names.
    """
    try:
        return ANALYSES[name]
    except ValueError as error:
        raise UserError(str(error)) from None


def run_analysis(name: str, arguments: list[str]) -> int:
    """Analyse as the command line says, and write NAME.json, NAME.csv and NAME.png.

    Returns:
        0.

    Raises:
        UserError: anything that the user can fix.
    """
    chosen = chosen_analysis(name)
    loaded: Loaded[AnalyzeOptions] = load(
        groups_of(chosen), [str(argument) for argument in arguments], f"{name}: {chosen.summary} ({chosen.source})"
    )
    options = loaded.options
    foreign = next((name for name in {**loaded.config, **loaded.command_line} if name in OF_VALIDATE), None)
    if foreign:
        raise UserError(f"--{foreign.replace('_', '-')} is for validate.py")
    subjects = find_subjects(options, chosen.joins_seeds)
    amp, amp_dtype = precision_of(_as_evaluated(options), [one.run for one in subjects if one.run is not None])
    processes = start_processes(amp=amp, amp_dtype=amp_dtype, device=options.model.device)
    if processes.count > 1:
        raise UserError(f"sosr-analyze runs in one process, not in {processes.count}")
    show_log(True, to_stderr=bool(options.report.json))
    show_notes(loaded.notes)
    torch.manual_seed(0)
    result = chosen.run(subjects, options, processes)
    report(result, chosen, subjects, options)
    return 0


def _as_evaluated(options: AnalyzeOptions) -> EvaluatedModelOptions:
    chosen = options.model
    return EvaluatedModelOptions(amp=chosen.amp, amp_dtype=chosen.amp_dtype, model_dtype=chosen.model_dtype)


def report(result: Result, chosen: Analysis, subjects: list[Subject], options: AnalyzeOptions) -> None:
    """The rows on the screen, and the files.

    Raises:
        UserError: a file cannot be written.
    """
    folder, name = Path(options.report.output), chosen.name
    about = {
        "analysis": name,
        "source": chosen.source,
        "subjects": [{"title": one.title, "name": one.name} for one in subjects],
    }
    record = about | result.record | {"environment": environment()}
    output = Output(options.report.json)
    if result.rows:
        output.table(table_of(result.rows, f"{name}: {chosen.summary}"))
    with must_write(folder):
        write_json(folder / f"{name}.json", record)
        if result.rows:
            write_rows(folder / f"{name}.csv", result.rows)
        for file, draw in result.plots.items():
            draw(folder / file)
    files = [f"{name}.json", *([f"{name}.csv"] if result.rows else []), *result.plots]
    logger.info("%s in %s", ", ".join(files), folder)
    output.result(record)


MOST_SHOWN = 40  # rows on the screen; all are in the CSV


def table_of(rows: list[dict[str, Any]], title: str) -> Table:
    """Rows as a table, the first ones where there are many."""
    shown = rows[:MOST_SHOWN]
    left = f" (first {len(shown)} of {len(rows)} rows)" if len(rows) > len(shown) else ""
    table = Table(title=title + left, title_justify="left")
    for key in rows[0]:
        table.add_column(key, justify="left" if isinstance(rows[0][key], str) else "right")
    for row in shown:
        table.add_row(*(in_words(value) for value in row.values()))
    return table


def in_words(value: Any) -> str:
    """A cell: numbers with four significant digits, nothing for None."""
    if value is None:
        return ""
    return f"{value:.4g}" if isinstance(value, float) else str(value)


def write_rows(path: Path, rows: list[dict[str, Any]]) -> None:
    """Rows as CSV, completely or not at all."""
    with replacing(path) as temporary, open(temporary, "w", newline="", encoding="utf-8") as file:
        writer = csv.DictWriter(file, list(rows[0]), lineterminator="\n")
        writer.writeheader()
        writer.writerows(rows)
