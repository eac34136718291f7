"""The values that the papers print, from sosr_timm/published/*.yaml."""

from __future__ import annotations

import functools
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from sosr_timm.errors import UserError
from sosr_timm.options.config_file import read_mapping
from sosr_timm.published import FOLDER
from sosr_timm.registry import close_names

# What names a row of a published table, in the order of a title.
KEYS = ("dataset", "split", "imbalance", "model", "method", "n")


@dataclass(frozen=True)
class PublishedValue:
    """One printed value.

    Attributes:
        metric: its name in the file ("top1_best", "top1_err", ...).
        mean: as printed.
        std: as printed; None where none is.
    """

    metric: str
    mean: float
    std: float | None

    def __str__(self) -> str:
        return f"{self.mean:g}" if self.std is None else f"{self.mean:g} ± {self.std:g}"


@dataclass(frozen=True)
class PublishedTable:
    """A table as a paper prints it.

    Attributes:
        name: of the table.
        metrics: one, or one for each value of a row.
        runs: number of runs in a mean; None if the source does not state it.
        source: where it was read.
        trust: "primary", "secondary" or "third_party".
        note: a remark.
        rows: as in the file.
    """

    name: str
    metrics: tuple[str, ...]
    runs: int | None
    source: str
    trust: str
    note: str
    rows: tuple[dict[str, Any], ...]

    def values_of(self, key: Mapping[str, Any]) -> list[PublishedValue]:
        """The values of the row that agrees with `key`; none if no row does."""
        found = self.matching(key)
        if len(found) != 1:
            return []
        means, stds = found[0]["mean"], found[0]["std"]
        if not isinstance(means, list):
            means, stds = [means], [stds]
        stds = stds if isinstance(stds, list) else [None] * len(means)
        return [PublishedValue(*parts) for parts in zip(self.metrics, means, stds, strict=True)]

    def matching(self, key: Mapping[str, Any]) -> list[dict[str, Any]]:
        """The rows whose naming fields all have the values that `key` has; a field that both lack does not count."""
        wanted = {name: key[name] for name in KEYS if name in key}
        return [row for row in self.rows if {name: row[name] for name in KEYS if name in row} == wanted]


@functools.cache
def published_tables(folder: Path = FOLDER) -> dict[str, PublishedTable]:
    """Every published table by its name.

    Raises:
        UserError: a file is not a list of tables, or a name appears twice.
    """
    tables: dict[str, PublishedTable] = {}
    for path in sorted(folder.glob("*.yaml")):
        for entry in read_mapping(path)["published"]:
            table = PublishedTable(
                name=entry["table"],
                metrics=_metrics(entry["metric"], entry["dataset"]),
                runs=entry.get("runs"),
                source=entry["source"],
                trust=entry["trust"],
                note=entry.get("note", ""),
                rows=tuple(entry["rows"]),
            )
            if table.name in tables:
                raise UserError(f"{path}: the published table '{table.name}' appears twice")
            tables[table.name] = table
    return tables


def _metrics(metric: str | list[str], dataset: Any) -> tuple[str, ...]:
    """A name for each value of a row: one for each metric, or for each data set in a list of them."""
    if isinstance(metric, list):
        return tuple(metric)
    return tuple(f"{metric} {name}" for name in dataset) if isinstance(dataset, list) else (metric,)


def published_table(name: str) -> PublishedTable:
    """The published table called `name`.

    Raises:
        ValueError: unknown name; the message lists close ones.
    """
    tables = published_tables()
    if name not in tables:
        raise ValueError(f"unknown published table '{name}': {close_names(name, tables)}")
    return tables[name]
