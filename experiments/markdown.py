"""Markdown tables."""

from __future__ import annotations

from collections.abc import Collection, Sequence


def markdown_table(columns: Sequence[str], rows: Sequence[Sequence[str]], numbers: Collection[str] = ()) -> str:
    """A table; bars within cells are escaped.

    Args:
        columns: titles.
        rows: cells.
        numbers: titles of right-aligned columns.
    """
    lines = [columns, ["---:" if column in numbers else "---" for column in columns]]
    lines += [[cell.replace("|", "\\|") for cell in row] for row in rows]
    return "\n".join(f"| {' | '.join(line)} |" for line in lines)
