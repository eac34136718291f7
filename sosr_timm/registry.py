"""Name -> thing: a duplicate is an error, an unknown name lists the close ones."""

from __future__ import annotations

import difflib
from collections.abc import Callable, Iterable, Iterator
from typing import Generic, TypeVar

Thing = TypeVar("Thing")


def close_names(name: str, known: Iterable[str], count: int = 3, cutoff: float = 0.6) -> str:
    """A hint for a mistyped `name`.

    Args:
        name: what was given.
        known: the names that exist.
        count: how many close ones to list at the most.
        cutoff: how close, from 0 to 1; case and leading hyphens do not count.

    Returns:
        "did you mean 'sosr'?" where something is close, else "known: a, b, c".
    """
    known = sorted(known)
    folded: dict[str, str] = {}
    for one in known:
        folded.setdefault(one.lstrip("-").lower(), one)
    matches = difflib.get_close_matches(name.lstrip("-").lower(), folded, n=count, cutoff=cutoff)
    close = [folded[match] for match in matches]
    if close:
        return f"did you mean {' or '.join(repr(match) for match in close)}?"
    return f"known: {', '.join(known)}"


class Registry(Generic[Thing]):
    """Things by name.

    Args:
        kind: what the things are, for messages ("loss", "data set").
    """

    def __init__(self, kind: str):
        self.kind = kind
        self._things: dict[str, Thing] = {}

    def register(self, name: str) -> Callable[[Thing], Thing]:
        """Decorator that stores what it decorates under `name`.

        Raises:
            ValueError: the name is taken.
        """

        def store(thing: Thing) -> Thing:
            if name in self._things:
                raise ValueError(f"{self.kind} '{name}' is registered twice")
            self._things[name] = thing
            return thing

        return store

    def __getitem__(self, name: str) -> Thing:
        """The thing called `name`.

        Raises:
            ValueError: there is none; the message lists close names.
        """
        if name not in self._things:
            raise ValueError(f"unknown {self.kind} '{name}': {close_names(name, self._things)}")
        return self._things[name]

    def __contains__(self, name: object) -> bool:
        return name in self._things

    def __iter__(self) -> Iterator[str]:
        return iter(self._things)

    def __len__(self) -> int:
        return len(self._things)
