"""The launcher that started this process, torchrun or `accelerate launch`: its options, and whether it still runs."""

from __future__ import annotations

import os
import sys
from pathlib import Path

import psutil

MODULES = {"detect": "detection"}  # of commands that are not called like their module
LAUNCHERS = ("accelerate", "torchrun", "torch.distributed.run", "torch.distributed.launch")


def is_launcher(line: list[str]) -> bool:
    """Whether a command line is that of a launcher: in its first words, before the script's own."""
    return any(name in os.path.basename(word) for word in line[:3] for name in LAUNCHERS)


def line_of_parent() -> list[str]:
    """The command line of the process that started this one; nothing where it cannot be seen."""
    try:
        return psutil.Process(os.getppid()).cmdline()
    except psutil.Error:
        return []


def line_of_accelerate() -> list[str]:
    """The command line of the `accelerate launch` that started this process; nothing where something else did."""
    line = line_of_parent()
    return line if any("accelerate" in os.path.basename(word) for word in line[:3]) else []


def processes_asked_for() -> int | None:
    """The N of `accelerate launch --num_processes N`, of which it silently starts only one with --cpu."""
    line = line_of_accelerate()
    for position, word in enumerate(line):
        name, equals, value = word.partition("=")
        if name in ("--num_processes", "--num-processes"):
            value = value if equals else line[position + 1 : position + 2][0]
            return int(value) if value.isdigit() else None
        if word == os.path.basename(sys.argv[0]) or word == sys.argv[0]:
            return None
    return None


def reporting_launcher() -> str:
    """The launcher that adds a report of its own below an error; "" where none does."""
    line = line_of_accelerate()
    if "TORCHELASTIC_RUN_ID" in os.environ:  # of several processes, which --quiet does not quiet
        return "accelerate launch" if line else "torchrun"
    return "accelerate launch" if line and not {"-q", "--quiet"} & set(line) else ""


def script_for_launchers() -> str:
    """How torchrun and `accelerate launch` start this program: `train.py`, or `-m sosr_timm.train` once installed."""
    path = Path(sys.argv[0])
    name = path.stem.removeprefix("sosr-")
    return f"-m sosr_timm.{MODULES.get(name, name)}" if is_installed_command() else path.name


def is_installed_command() -> bool:
    """Whether this is a command that pip installed (`sosr-train`, `-m sosr_timm.train`), not a script of a checkout."""
    path = Path(sys.argv[0])
    return path.name.startswith("sosr-") or path.parent.name == "sosr_timm"


class LauncherWatch:
    """Whether the launcher of this process has ended before it.

    The processes of a killed launcher live on: torchrun starts them in sessions of their own, and a signal to
    `accelerate launch` reaches only itself. They would continue to train unnoticed, and the next start in their folder
    would be refused.
    """

    def __init__(self) -> None:
        self._parent = os.getppid()
        # Started by torchrun and already handed over to init: it ended while this process was starting.
        self._orphaned = self._parent == 1 and "TORCHELASTIC_RUN_ID" in os.environ and not is_launcher(line_of_parent())
        self._watched = is_launcher(line_of_parent())

    def has_ended(self) -> bool:
        """Whether it has; False where no launcher started this process."""
        return self._orphaned or (self._watched and os.getppid() != self._parent)
