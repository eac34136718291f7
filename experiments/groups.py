"""The stored runs of a table, grouped by their conditions and by row."""

from __future__ import annotations

import json
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from typing import Any

from experiments.metrics import Metric
from sosr_timm.errors import UserError
from sosr_timm.runner.record import Record
from sosr_timm.runner.settings import key_of, settings
from sosr_timm.runner.statistics import Mean, Paired, mean_of, paired
from sosr_timm.runner.tables import Row, Table

UNITS = {"dataset": "{}", "epochs": "{:,} epochs", "train_num_samples": "{:,} samples"}


@dataclass
class Group:
    """Runs under the same conditions.

    Attributes:
        conditions: what differs from the table; {} if nothing does.
        records: by the row's title and the seed.
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

    def values(self, row: Row, metric: Metric, epoch: str) -> dict[int, float]:
        """A row's metric by seed, in its "best" or "last" epoch."""
        return {seed: metric.of(getattr(record.run, epoch)) for seed, record in self.of(row).items()}

    def mean(self, row: Row, metric: Metric, epoch: str) -> Mean | None:
        """The mean over seeds; None if there are no runs."""
        values = self.values(row, metric, epoch)
        return mean_of(list(values.values())) if values else None

    def compared(self, row: Row, reference: Row, metric: Metric, epoch: str) -> Paired | None:
        """A row minus another over their common seeds; None if they have none."""
        return paired(self.values(row, metric, epoch), self.values(reference, metric, epoch))

    def of(self, row: Row) -> dict[int, Record]:
        return self.records.get(row.title, {})


def grouped(
    table: Table, records: Iterable[Record], elsewhere: Mapping[tuple[str, int], Record]
) -> tuple[list[Group], int]:
    """The runs of a table by conditions, first those without changes, and how many no longer belong to the table.

    A run belongs to a table as long as a row has its name and its settings.

    Args:
        records: records of this table.
        elsewhere: see `record.records_by_settings`; a row also uses runs of other tables with the same settings.
    """
    found: dict[str, Group] = {"{}": Group({})}
    rows = {json.dumps(row.key): row for row in table.rows if not row.absent}
    unmatched = 0
    for record in records:
        row = rows.get(json.dumps(record.row))
        if row is None or _key(table, row, record.conditions) != record.key:
            unmatched += 1
            continue
        group = found.setdefault(json.dumps(record.conditions, sort_keys=True), Group(record.conditions))
        group.records.setdefault(row.title, {})[record.run.seed] = record
    own = found["{}"]
    keys = {row.title: key for row in rows.values() if (key := _key(table, row, {}))}
    for (key, seed), record in elsewhere.items():
        for title in (title for title, wanted in keys.items() if wanted == key):
            own.records.setdefault(title, {}).setdefault(seed, record)
    return list(found.values()), unmatched


def _key(table: Table, row: Row, conditions: Mapping[str, Any]) -> str | None:
    """The key of a row's current settings; None if its recipe or one of the stored options no longer exists."""
    try:
        return key_of(settings(table, row, conditions), table.program)
    except (UserError, KeyError):
        return None
