"""A table: rows of recipe, loss and options beside the published values they are compared with."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from experiments.published import PublishedValue, published_table
from sosr_timm.errors import UserError
from sosr_timm.registry import close_names

WORDS = ("dataset", "model", "method")


@dataclass(frozen=True)
class Row:
    """One line of a table.

    Attributes:
        key: what names it: model, method, data set, and the values of a grid.
        line: of the file, from 1.
        recipe: path below hparams/ without its ending.
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
    """A file of experiments/.

    Attributes:
        name: of the file, without its ending.
        path: of the file.
        title: of the table.
        paper: whose table it is.
        published: names of the published tables to compare with.
        metric: the metric of a table without a published one.
        note: a remark.
        training_images: of the data set, for estimates.
        rows: in order.
    """

    name: str
    path: Path
    title: str
    paper: str
    published: tuple[str, ...]
    metric: str
    note: str
    training_images: int
    rows: tuple[Row, ...]

    def published_values(self, row: Row) -> list[PublishedValue]:
        """The published values of a row."""
        return [value for name in self.published for value in published_table(name).values_of(row.key)]

    @property
    def metrics(self) -> tuple[str, ...]:
        """Names of the metrics of a row."""
        return tuple(m for name in self.published for m in published_table(name).metrics) or (self.metric,)

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
