"""The processes of a run, found by their rank."""

from __future__ import annotations

from pathlib import Path

import psutil


def process_of_rank(rank: int, output: Path) -> psutil.Process:
    """The train.py of a run that writes to this folder and has this rank.

    Raises:
        AssertionError: there is none.
    """
    for process in psutil.process_iter(["cmdline"]):
        words = process.info["cmdline"] or []
        if "train.py" in words and str(output) in words and process.environ().get("RANK") == str(rank):
            return process
    raise AssertionError(f"no process of rank {rank}")
