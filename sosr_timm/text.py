"""Text for people: plurals, durations, lines that fit a terminal, Markdown tables."""

from __future__ import annotations

import os
from collections.abc import Collection, Sequence
from typing import TextIO

NARROWEST = 20  # columns; a terminal that claims fewer does not know its width
DEFAULT_WIDTH = 80


def counted(number: int, one: str, many: str = "") -> str:
    """A number with its noun: `1 epoch`, `1,200 epochs`.

    Args:
        number: how many.
        one: the noun in the singular.
        many: the noun in the plural, where it is not `one` with an s.
    """
    return f"{number:,} {one if number == 1 else many or one + 's'}"


def duration(seconds: float) -> str:
    """Seconds in words: `95 s`, `12 min`, `3.5 h`, `4.2 days`."""
    minutes, hours = seconds / 60, seconds / 3600
    if minutes < 2:
        return f"{seconds:.0f} s"
    if hours < 2:
        return f"{minutes:.0f} min"
    return f"{hours:.1f} h" if hours < 72 else f"{hours / 24:.1f} days"


def rate(per_second: float, noun: str = "image") -> str:
    """Things in a second: `1,576 images/s`, `12 images/s`; with fewer than ten as many digits as say something."""
    return f"{per_second:,.0f} {noun}s/s" if per_second >= 10 else f"{per_second:.2g} {noun}s/s"


def width_of(stream: TextIO) -> int | None:
    """Columns of the terminal behind a stream; None where there is no terminal, so that lines may have any length."""
    if not stream.isatty():
        return None
    try:
        columns = os.get_terminal_size(stream.fileno()).columns
    except (OSError, ValueError):
        columns = 0
    if columns < NARROWEST:
        columns = int(os.environ.get("COLUMNS", "0")) if os.environ.get("COLUMNS", "").isdecimal() else 0
    return columns if columns >= NARROWEST else DEFAULT_WIDTH


def fitted(head: str, items: Sequence[str], width: int | None, gap: str = "  ") -> str:
    """A head and items behind it, broken between items where they do not fit, with the later lines indented.

    Args:
        head: start of the first line; the later lines are indented by its length.
        items: never broken themselves.
        width: columns; None: everything in one line.
        gap: between two items.
    """
    lines = [head]
    for item in items:
        wider = f"{lines[-1]}{gap}{item}"
        if width is None or len(wider) <= width or lines[-1] in (head, " " * len(head)):
            lines[-1] = wider
        else:
            lines.append(f"{' ' * len(head)}{gap}{item}")
    return "\n".join(lines)


def markdown_table(columns: Sequence[str], rows: Sequence[Sequence[str]], numbers: Collection[str] = ()) -> str:
    """A Markdown table; a bar in a cell is escaped.

    Args:
        columns: titles.
        rows: cells.
        numbers: titles of the columns that are aligned right.
    """
    lines = [list(columns), ["---:" if column in numbers else "---" for column in columns]]
    lines += [[cell.replace("|", "\\|") for cell in row] for row in rows]
    return "\n".join(f"| {' | '.join(line)} |" for line in lines)
