"""What train.py --record-confidence recorded of runs, epoch by epoch."""

from __future__ import annotations

import csv
from dataclasses import dataclass

from sosr_timm.analysis.subjects import Subject, by_seed
from sosr_timm.errors import UserError


@dataclass(frozen=True)
class Recorded:
    """The tables of runs that differ in nothing but their seed.

    Attributes:
        epochs: that all of them have, counted from 0.
        runs: for each run its columns, each with a value for each epoch; None where the cell is empty.
    """

    epochs: list[int]
    runs: list[dict[str, list[float | None]]]

    def column(self, name: str) -> list[list[float | None]]:
        """One column of each run."""
        return [run[name] for run in self.runs]


def recorded_runs(subjects: list[Subject], column: str, advice: str = "--record-confidence") -> dict[str, Recorded]:
    """The recorded values by title, runs that differ in their seed together.

    Args:
        subjects: runs.
        column: that is needed.
        advice: what train.py needs for it.

    Raises:
        UserError: a timm model, a run without recorded values, or one whose values do not include the column.
    """
    return {title: _joined(title, members, column, advice) for title, members in by_seed(subjects).items()}


def _joined(title: str, members: list[Subject], column: str, advice: str) -> Recorded:
    tables = [read_recorded(member, column, advice) for member in members]
    common = set.intersection(*({int(epoch) for epoch in table["epoch"]} for table in tables))
    if not common:
        raise UserError(f"{title}: the runs have no epoch in common")
    runs = []
    for table in tables:
        kept = [place for place, epoch in enumerate(table["epoch"]) if int(epoch) in common]
        runs.append({name: [values[place] for place in kept] for name, values in table.items()})
    return Recorded(sorted(common), runs)


def read_recorded(subject: Subject, column: str, advice: str) -> dict[str, list[float | None]]:
    """confidence.csv of a run by column."""
    if subject.run is None:
        raise UserError(f"{subject.title} is a model, and what is recorded in training is in run folders only")
    path = subject.run.folder.confidence
    try:
        with open(path, newline="", encoding="utf-8") as file:
            rows = list(csv.DictReader(file))
        table = {name: [float(row[name]) if row[name] else None for row in rows] for name in rows[0]} if rows else {}
        for epoch in table.get("epoch", ()):
            int(epoch)
    except FileNotFoundError:
        table = {}
    except (OSError, ValueError, TypeError, KeyError) as error:
        raise UserError(f"{path} is damaged ({error})") from None
    if not table or "epoch" not in table or column not in table or all(value is None for value in table[column]):
        what = "has no recorded values" if not table else f"did not record {column}"
        raise UserError(f"{subject.run.folder.path} {what}: train it with {advice}")
    return table
