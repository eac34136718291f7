"""A table: rows of recipe, loss and options, each run with several seeds."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from sosr_timm.errors import UserError
from sosr_timm.registry import close_names

WORDS = ("dataset", "model", "method")


@dataclass(frozen=True)
class Row:
    """One line of a table.

    Attributes:
        key: what names it: model, method, data set, and the values of a grid.
        line: of the file, from 1.
        recipe: path below hparams/ without its ending; "" for options alone.
        loss: as for --loss.
        smoothing: as for --smoothing.
        options: other options of train.py by name.
        seeds: how many; they count from 0.
        against: method of the row that this one is compared with; "" for none.
        start: the row whose best weights its runs start from: its table and its key; {} for none.
        absent: why it is not run here; "" where it is.
    """

    key: dict[str, Any]
    line: int
    recipe: str
    loss: str
    smoothing: float
    options: dict[str, Any]
    seeds: int
    against: str
    start: dict[str, Any]
    absent: str

    @property
    def title(self) -> str:
        """The key in words."""
        return ", ".join(str(value) if name in WORDS else f"{name} {value}" for name, value in self.key.items())


@dataclass(frozen=True)
class Table:
    """Rows to run.

    Attributes:
        name: of the folders of its runs and records.
        path: the file that it was read from, for messages.
        title: of the table.
        metric: the main metric, by the name of `experiments/metrics.py` or of `sosr_timm.metrics.titles`.
        note: a remark.
        training_images: of the data set, for estimates.
        rows: in order.
        program: that makes the runs: "train" (train.py) or "detect" (sosr-detect), whose rows have no recipe and no
            loss.
    """

    name: str
    path: Path
    title: str
    metric: str
    note: str
    training_images: int
    rows: tuple[Row, ...]
    program: str = field(default="train", kw_only=True)

    def reference_of(self, row: Row) -> Row | None:
        """The row that this one is compared with: its `against`, all other naming fields alike or not given there."""
        if not row.against:
            return None
        wanted = {**row.key, "method": row.against}
        for other in self.rows:
            if other is not row and all(wanted.get(name) == value for name, value in other.key.items()):
                return other
        return None


def choose_rows(table: Table, words: Sequence[str]) -> list[Row]:
    """The rows that have one of the words given for each naming field that any of them names.

    Args:
        table: of the rows.
        words: values of naming fields (`resnet56`, `cutmix+sosr`) or `field=value`; none chooses every row.

    Raises:
        UserError: a word that no row has (with the nearest), or no row has all.
    """
    fields: dict[str, set[str]] = {}
    for word in words:
        found = False
        for row in table.rows:
            for name, value in row.key.items():
                if word in (str(value), f"{name}={value}"):
                    fields.setdefault(name, set()).add(str(value))
                    found = True
        if not found:
            known = {str(value) for row in table.rows for value in row.key.values()}
            raise UserError(f"--only {word}: no row of {table.name} has it: {close_names(word, known)}")
    rows = [row for row in table.rows if all(str(row.key.get(n)) in values for n, values in fields.items())]
    if not rows:
        raise UserError(f"--only {' '.join(words)}: no row of {table.name} has all of them")
    return rows
