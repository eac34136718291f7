"""The stored runs of a table, sorted by the conditions they were made under and by row."""

from __future__ import annotations

import json
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from typing import Any

from experiments.measures import Measure
from experiments.record import Record
from experiments.settings import key_of, settings
from experiments.statistics import Mean, Paired, mean_of, paired
from experiments.tables import Row, Table
from sosr_timm.errors import UserError

UNITS = {"dataset": "{}", "epochs": "{:,} epochs", "train_num_samples": "{:,} samples"}


@dataclass
class Group:
    """Runs under the same conditions.

    Attributes:
        conditions: what was not as the table says; {} where all was.
        records: of the runs, by the row's title and the seed.
    """

    conditions: dict[str, Any]
    records: dict[str, dict[int, Record]] = field(default_factory=dict)

    @property
    def title(self) -> str:
        """The conditions in words."""
        words = [UNITS[name].format(self.conditions[name]) for name in UNITS if name in self.conditions]
        return ", ".join(words + [f"{name} {value}" for name, value in self.conditions.items() if name not in UNITS])

    @property
    def runs(self) -> list[Record]:
        return [record for of_row in self.records.values() for record in of_row.values()]

    def values(self, row: Row, measure: Measure, epoch: str) -> dict[int, float]:
        """A figure of a row by seed.

        Args:
            row: of the table.
            measure: of the figure.
            epoch: "best" or "last".
        """
        return {seed: measure.of(getattr(record.run, epoch)) for seed, record in self.of(row).items()}

    def mean(self, row: Row, measure: Measure, epoch: str) -> Mean | None:
        """A figure's mean over seeds; None where nothing is run."""
        values = self.values(row, measure, epoch)
        return mean_of(list(values.values())) if values else None

    def compared(self, row: Row, reference: Row, measure: Measure, epoch: str) -> Paired | None:
        """A row against another over the seeds they share; None where they share none."""
        return paired(self.values(row, measure, epoch), self.values(reference, measure, epoch))

    def of(self, row: Row) -> dict[int, Record]:
        return self.records.get(row.title, {})


def grouped(
    table: Table, records: Iterable[Record], elsewhere: Mapping[tuple[str, int], Record]
) -> tuple[list[Group], int]:
    """The runs of a table by conditions, those as the table says first, and how many runs belong to it no longer.

    A run belongs to a table while a row has its name and gives its settings.

    Args:
        table: of the rows.
        records: made for this table.
        elsewhere: see `record.records_by_settings`; a row takes what has its very settings.
    """
    found: dict[str, Group] = {"{}": Group({})}
    rows = {json.dumps(row.key): row for row in table.rows if not row.absent}
    left_out = 0
    for record in records:
        row = rows.get(json.dumps(record.row))
        if row is None or _key(table, row, record.conditions) != record.key:
            left_out += 1
            continue
        group = found.setdefault(json.dumps(record.conditions, sort_keys=True), Group(record.conditions))
        group.records.setdefault(row.title, {})[record.run.seed] = record
    own = found["{}"]
    keys = {row.title: key for row in rows.values() if (key := _key(table, row, {}))}
    for (key, seed), record in elsewhere.items():
        for title in (title for title, wanted in keys.items() if wanted == key):
            own.records.setdefault(title, {}).setdefault(seed, record)
    return list(found.values()), left_out


def _key(table: Table, row: Row, conditions: Mapping[str, Any]) -> str | None:
    """The key of a row's present settings; None where its recipe, or an option of then, is gone."""
    try:
        return key_of(settings(table, row, conditions))
    except (UserError, KeyError):
        return None
