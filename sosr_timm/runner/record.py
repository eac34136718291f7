"""The record of a finished run of a table, results/TABLE/*.json: the result, the row, the conditions."""

from __future__ import annotations

import json
import math
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from sosr_timm.files import write_json
from sosr_timm.results import RunResult, content_of, result_from

FORMAT = 1
NOT_TABLES = ("analysis", "detection", "judging", "pictures")  # folders of results/ that hold no records of tables
FIELDS = {"table": str, "row": dict, "conditions": dict, "key": str, "curve": list, "run": dict}
OF_COMPARISON = {"history": list, "evaluation": dict, "test": dict}  # left out where empty


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
        history: of a comparison's run: the values of each epoch, as metrics.jsonl and confidence.csv have them.
        evaluation: of a comparison's run: the metrics of its best and last checkpoint on its evaluation images.
        test: of a comparison's run: the same on the test images, where the evaluation images are held-out ones.
    """

    table: str
    row: dict[str, Any]
    conditions: dict[str, Any]
    key: str
    curve: list[float]
    run: RunResult
    history: list[dict[str, Any]] = field(default_factory=list)
    evaluation: dict[str, Any] = field(default_factory=dict)
    test: dict[str, Any] = field(default_factory=dict)


def save_record(record: Record, path: Path) -> None:
    """Write a record in one step; creates missing folders."""
    curve = [value if math.isfinite(value) else None for value in record.curve]
    content = {"format": FORMAT, "table": record.table, "row": record.row, "conditions": record.conditions}
    others = {name: getattr(record, name) for name in OF_COMPARISON if getattr(record, name)}
    write_json(path, {**content, "key": record.key, "curve": curve, "run": content_of(record.run), **others})


def load_record(path: Path) -> Record:
    """Read a record back.

    Raises:
        ValueError: not JSON, or not such a record; starts with the path.
    """
    try:
        content = json.loads(path.read_text(encoding="utf-8"))
    except ValueError as error:
        raise ValueError(f"{path}: not JSON: {error}") from error
    names = {"format", *FIELDS}
    known = isinstance(content, dict) and names <= content.keys() <= names | OF_COMPARISON.keys()
    if not known or content["format"] != FORMAT:
        raise ValueError(f"{path}: not the record of a table's run of format {FORMAT}")
    for name, kind in (FIELDS | OF_COMPARISON).items():
        if not isinstance(content.get(name, kind()), kind):
            raise ValueError(f"{path}: {name}: expected {kind.__name__}, not {content[name]!r}")
    run = result_from(content["run"], f"{path}: run")
    curve = [math.nan if value is None else float(value) for value in content["curve"]]
    rest = {name: content[name] for name in ("table", "row", "conditions", "key")}
    others = {name: content[name] for name in OF_COMPARISON if name in content}
    return Record(**rest, curve=curve, run=run, **others)


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
