"""The words of the grammar of --loss, for suggestions where one of them is given as a flag."""

from __future__ import annotations


def as_loss(flag: str) -> str:
    """What to write with --loss where a flag is a loss or a keyword of one: `--loss "sosr(beta=...)"`; else nothing.

    Args:
        flag: as given on the command line.
    """
    # Imported here: importing the losses takes seconds, which only an unknown flag costs.
    from sosr_timm.losses.base import BASES, PENALTIES
    from sosr_timm.losses.keywords import keywords_of
    from sosr_timm.losses.spec import ALIASES, builder_of

    word = flag.lstrip("-").replace("-", "_").lower()
    names = (*PENALTIES, *BASES)
    if word in names or word in ALIASES:
        return f"--loss {word}"
    having = [f'--loss "{name}({word}=...)"' for name in names if word in keywords_of(builder_of(name))]
    return " or ".join(having[:3])
