"""A table of a paper: rows beside the published values they are compared with."""

from __future__ import annotations

from dataclasses import dataclass

from experiments.published import PublishedValue, published_table
from sosr_timm.runner.tables import Row, Table


@dataclass(frozen=True)
class PaperTable(Table):
    """A file of experiments/.

    Attributes:
        paper: whose table it is.
        published: names of the published tables to compare with; without any, the table has a metric.
    """

    paper: str
    published: tuple[str, ...]

    def published_values(self, row: Row) -> list[PublishedValue]:
        """The published values of a row."""
        return [value for name in self.published for value in published_table(name).values_of(row.key)]

    @property
    def metrics(self) -> tuple[str, ...]:
        """Names of the metrics of a row."""
        return tuple(m for name in self.published for m in published_table(name).metrics) or (self.metric,)
