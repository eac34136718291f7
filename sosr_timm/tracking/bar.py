"""A progress bar that keeps its bar: facts are shown behind it as far as the terminal has room."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from tqdm import tqdm

from sosr_timm.text import DEFAULT_WIDTH, width_of

NARROWEST_BAR = 10  # columns


class Bar(tqdm):
    """A line at the foot of the terminal: title, bar, count, facts.

    Args:
        total: steps.
        title: in front.
        done: steps already done.
        enabled: None: where standard error is a terminal.
    """

    facts: tuple[str, ...] = ()

    def __init__(self, total: int, title: str, done: int = 0, enabled: bool | None = None):
        super().__init__(
            total=total,
            initial=done,
            desc=title,
            leave=False,
            disable=None if enabled is None else not enabled,
            bar_format="{desc} {percentage:3.0f}%|{bar}| {n_fmt}/{total_fmt}{facts}",
        )

    def show(self, facts: Sequence[str]) -> None:
        """Show these facts, the most important first, from now on."""
        self.facts = tuple(facts)
        self.refresh()

    @property
    def format_dict(self) -> dict[str, Any]:
        """What the line is made from, with as many facts as the terminal has room for."""
        found = super().format_dict
        width = width_of(self.fp) or DEFAULT_WIDTH
        count = len(str(self.total))
        room = width - 1 - len(f"{self.desc} 100%|| ") - NARROWEST_BAR - (2 * count + 1)
        text = ""
        for fact in self.facts:
            if len(text) + 2 + len(fact) > room:
                break
            text += f"  {fact}"
        return found | {"ncols": width - 1, "facts": text}
