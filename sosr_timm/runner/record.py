"""The record of a finished run of a table, results/TABLE/*.json: the result, the row, the conditions."""

from __future__ import annotations

import json
import math
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from sosr_timm.files import write_json
from sosr_timm.results import RunResult, content_of, result_from

FORMAT = 1
NOT_TABLES = ("pictures",)  # folders of results/ that hold no records of tables
FIELDS = {"table": str, "row": dict, "conditions": dict, "key": str, "curve": list, "run": dict}


@dataclass(frozen=True)
class Record:
    """A finished run of a table.

    Attributes:
        table: its name.
        row: the row's key.
        conditions: what differs from the table; {} if nothing does.
        key: of the settings, see `settings.key_of`.
        curve: top-1 in percent after each evaluated epoch.
        run: the result of the run.
    """

    table: str
    row: dict[str, Any]
    conditions: dict[str, Any]
    key: str
    curve: list[float]
    run: RunResult


def save_record(record: Record, path: Path) -> None:
    """Write a record in one step; creates missing folders."""
    curve = [value if math.isfinite(value) else None for value in record.curve]
    content = {"format": FORMAT, "table": record.table, "row": record.row, "conditions": record.conditions}
    write_json(path, {**content, "key": record.key, "curve": curve, "run": content_of(record.run)})


def load_record(path: Path) -> Record:
    """Read a record back.

    Raises:
        ValueError: not JSON, or not such a record; starts with the path.
    """
    try:
        content = json.loads(path.read_text(encoding="utf-8"))
    except ValueError as error:
        raise ValueError(f"{path}: not JSON: {error}") from error
    if not isinstance(content, dict) or content.get("format") != FORMAT or content.keys() != {"format", *FIELDS}:
        raise ValueError(f"{path}: not the record of a table's run of format {FORMAT}")
    for name, kind in FIELDS.items():
        if not isinstance(content[name], kind):
            raise ValueError(f"{path}: {name}: expected {kind.__name__}, not {content[name]!r}")
    run = result_from(content["run"], f"{path}: run")
    curve = [math.nan if value is None else float(value) for value in content["curve"]]
    rest = {name: content[name] for name in ("table", "row", "conditions", "key")}
    return Record(**rest, curve=curve, run=run)


def load_records(folder: Path) -> list[Record]:
    """All records of a table, by file name; an unreadable one is an error."""
    return [load_record(path) for path in sorted(folder.glob("*.json"))]


def records_by_settings(results: Path) -> dict[tuple[str, int], Record]:
    """The unchanged runs of every table, by key and seed: another table may ask for the same settings."""
    found = {}
    for folder in sorted(path for path in results.glob("*") if path.is_dir() and path.name not in NOT_TABLES):
        for record in load_records(folder):
            if not record.conditions:
                found.setdefault((record.key, record.run.seed), record)
    return found
