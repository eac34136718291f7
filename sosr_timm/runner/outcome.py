"""How the runs of a table ended."""

from __future__ import annotations

from dataclasses import dataclass, field

from sosr_timm.runner.jobs import Job


@dataclass
class Outcome:
    """How the runs ended.

    Attributes:
        done: finished and recorded now.
        failed: ended with an error.
        stopped: ended early with a checkpoint; can be resumed.
        busy: skipped, because another process runs them.
        signal: that ended the table, or 0.
    """

    done: list[Job] = field(default_factory=list)
    failed: list[Job] = field(default_factory=list)
    stopped: list[Job] = field(default_factory=list)
    busy: list[Job] = field(default_factory=list)
    signal: int = 0
