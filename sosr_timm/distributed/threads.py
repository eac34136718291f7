"""How many threads a process computes with on the CPU."""

from __future__ import annotations

import os

import psutil
import torch

from sosr_timm.distributed.launchers import is_launcher
from sosr_timm.environment import usable_cores

VARIABLE = "OMP_NUM_THREADS"
LOCAL_PROCESSES = ("LOCAL_WORLD_SIZE", "MPI_LOCALNRANKS", "OMPI_COMM_WORLD_LOCAL_SIZE", "MV2_COMM_WORLD_LOCAL_SIZE")


def threads_of_process(cores: int, local_processes: int, chosen: int | None) -> int:
    """Threads of one process.

    Args:
        cores: cores that the processes of this machine may use.
        local_processes: processes that share them.
        chosen: OMP_NUM_THREADS of the user, or None.
    """
    return chosen or max(1, cores // max(1, local_processes))


def cores_available() -> int:
    """Physical cores among those that this process may run on: a second thread on a core brings little."""
    logical, physical = psutil.cpu_count() or 1, psutil.cpu_count(logical=False) or 1
    return max(1, usable_cores() * min(physical, logical) // logical)


def chosen_threads() -> int | None:
    """OMP_NUM_THREADS if the user chose it.

    `accelerate launch` and torchrun set it to 1 where it is not set, which would leave all other cores idle. So a 1
    is ignored if the parent is such a launcher and neither its environment nor its command line sets it.
    """
    words = os.environ.get(VARIABLE, "").partition(",")[0].strip()
    if not words.isdigit() or not int(words):
        return None
    if int(words) > 1:
        return int(words)
    try:
        parent = psutil.Process(os.getppid())
        line = parent.cmdline()
        if not is_launcher(line) or VARIABLE in parent.environ() or any("cpu_threads" in word for word in line):
            return 1
    except psutil.Error:
        return 1
    return None


def local_processes() -> int:
    """Training processes on this machine, as the launcher counts them; 1 without a launcher."""
    counts = (os.environ.get(name, "") for name in LOCAL_PROCESSES)
    return max(1, next((int(count) for count in counts if count.isdigit()), 1))


def set_threads(device: torch.device) -> None:
    """Share the cores out among the processes of this machine; with an accelerator, leave torch's setting."""
    if device.type != "cpu":
        return
    torch.set_num_threads(threads_of_process(cores_available(), local_processes(), chosen_threads()))
