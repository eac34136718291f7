"""A table's section of docs/results.md."""

from __future__ import annotations

import math
from collections.abc import Callable

from experiments.groups import Group
from experiments.metrics import ECE, NLL, TOP1, metric_of
from experiments.published import published_table
from experiments.tables import PaperTable
from sosr_timm.runner.statistics import Mean
from sosr_timm.runner.tables import Row
from sosr_timm.text import counted, markdown_table
from tools.readme_page import machine

NOT_RUN = "not run"
NO_VALUE = "-"  # of a group without classes, or a run that diverged


def section(table: PaperTable, groups: list[Group], unmatched: int, picture: Callable[[Group], str | None]) -> str:
    """The section of one table.

    Args:
        table: to show.
        groups: its runs; the first one holds those without changes.
        left_out: number of stored runs that no longer belong to the table.
        picture: returns the path of a group's plot, or None.
    """
    parts = [f"## {table.name}", f"{table.title}. {table.paper or 'No paper'}.".replace("..", ".")]
    if table.note:
        parts.append(table.note.strip())
    parts += [of_source(name) for name in table.published]
    own, *others = groups
    parts.append(beside_published(table, own) if table.published else ours_alone(table, own, table.rows))
    parts += after(table, own, picture)
    for group in others:
        rows = [row for row in table.rows if group.of(row)]
        parts.append(f"### {table.name}, changed: {group.title}")
        parts.append("These runs differ from the published settings, so do not compare them with published values.")
        parts.append(ours_alone(table, group, rows))
        parts += after(table, group, picture)
    if unmatched:
        parts.append(f"Not shown: {counted(unmatched, 'stored run')} whose settings are no longer those of the table.")
    return "\n\n".join(parts)


def of_source(name: str) -> str:
    """The source of a published table."""
    table = published_table(name)
    trust = {"primary": "read in the source itself", "secondary": "from a summary, not checked against the source"}
    runs = counted(table.runs, "run") if table.runs else "number of runs not stated"
    text = f"Published as `{name}`: {table.source}; {trust.get(table.trust, 'a third party')}; {runs}"
    return f"{text}. {table.note[:1].upper()}{table.note[1:]}." if table.note else f"{text}."


def beside_published(table: PaperTable, group: Group) -> str:
    """Every row with its published values and ours; footnotes say why a row cannot be run."""
    reasons: list[str] = []
    lines = []
    for row in table.rows:
        if row.absent and row.absent not in reasons:
            reasons.append(row.absent)
        ours = f"{NOT_RUN} [{letter(reasons.index(row.absent))}]" if row.absent else NOT_RUN
        for value in table.published_values(row):
            metric = metric_of(value.metric)
            title = metric.title if metric else value.metric.replace("_", " ")
            best, last = (metric and group.mean(row, metric, epoch) for epoch in ("best", "last"))
            if best is None or last is None:
                words = ours if metric or row.absent else "not measured in a run"
                lines.append([row.title, title, str(value), words, words, "", ""])
                continue
            if math.isnan(best.value):
                lines.append([row.title, title, str(value), NO_VALUE, NO_VALUE, "", str(best.n)])
                continue
            difference = f"{best.value - value.mean:+.2f}"
            lines.append([row.title, title, str(value), str(best), str(last), difference, str(best.n)])
    columns = ("row", "metric", "published", "ours, best epoch", "ours, last epoch", "best - published", "n")
    text = markdown_table(columns, lines, columns[2:])
    notes = [f"[{letter(position)}] {reason}." for position, reason in enumerate(reasons)]
    return "\n\n".join([text, *notes])


def letter(position: int) -> str:
    return chr(ord("a") + position)


def ours_alone(table: PaperTable, group: Group, rows: list[Row] | tuple[Row, ...]) -> str:
    """Rows with our values."""
    metric = metric_of(table.metrics[0]) or TOP1
    columns = (
        "row",
        f"{metric.title}, best epoch",
        f"{metric.title}, last epoch",
        *(f"{other.title}, last" for other in (NLL, ECE)),
        "n",
    )
    lines = []
    for row in rows:
        best = group.mean(row, metric, "best")
        if best is None:
            reason = f"{NOT_RUN}: {row.absent}" if row.absent else NOT_RUN
            lines.append([row.title, reason, reason, "", "", ""])
            continue
        others = (fine(group.mean(row, other, "last")) for other in (NLL, ECE))
        lines.append([row.title, str(best), str(group.mean(row, metric, "last")), *others, str(best.n)])
    return markdown_table(columns, lines, columns[1:])


def fine(mean: Mean | None) -> str:
    """A mean with four decimals."""
    if mean is None or not math.isfinite(mean.value):
        return NO_VALUE
    return f"{mean.value:.4f}" if mean.half_width is None else f"{mean.value:.4f} ± {mean.half_width:.4f}"


def after(table: PaperTable, group: Group, picture: Callable[[Group], str | None]) -> list[str]:
    """What follows a table of runs: comparisons, the plot, the machine; nothing if there are no runs."""
    if not group.runs:
        return []
    parts = []
    metric = metric_of(table.metrics[0]) or TOP1
    lines = []
    for row in table.rows:
        reference = table.reference_of(row)
        both = [group.compared(row, reference, metric, e) for e in ("best", "last")] if reference else [None]
        if both[0] is not None:
            lines.append([row.title, reference.title, str(both[0].difference.n), *map(str, both)])
    if lines:
        columns = ("row", "minus", "n", f"{metric.title}, best epoch", f"{metric.title}, last epoch")
        parts.append("Differences over shared seeds, with a paired t-test:")
        parts.append(markdown_table(columns, lines, columns[2:]))
    path = picture(group)
    if path:
        parts.append(f"![{table.title}]({path})")
    hours = sum(record.run.seconds for record in group.runs) / 3600
    machines = sorted({machine(record.run) for record in group.runs})
    parts.append(f"{counted(len(group.runs), 'run')}, {hours:.2f} hours in all, on {'; '.join(machines)}.")
    return parts
