"""How many runs run at the same time, and what each gets: a GPU, or some of the CPU's cores."""

from __future__ import annotations

import os

import torch

from sosr_timm.environment import usable_cores

MOST_ON_CPU = 4


def usable_gpus() -> list[str]:
    """The GPUs visible to this process, as CUDA_VISIBLE_DEVICES names them."""
    if os.environ.get("ACCELERATE_USE_CPU", "").lower() in ("1", "true", "yes"):
        return []
    count = torch.cuda.device_count()
    visible = os.environ.get("CUDA_VISIBLE_DEVICES")
    names = [name.strip() for name in visible.split(",")] if visible else [str(index) for index in range(count)]
    return names[:count]


def slots(jobs: int | None, launched: bool = False) -> list[dict[str, str]]:
    """The environment of each of the runs that run at the same time.

    Without GPUs each run gets its share of the cores: several runs with one thread each finish more work than one run
    with all threads.

    Args:
        jobs: how many; None for one on each GPU, or without GPUs one on each core up to `MOST_ON_CPU`. If there are
            more jobs than GPUs, they share the GPUs in turn.
        launched: the user's launcher starts each run and divides the machine itself: one at a time, unless `jobs`.
    """
    if launched:
        return [{} for _ in range(jobs or 1)]
    gpus = usable_gpus()
    if gpus:
        return [{"CUDA_VISIBLE_DEVICES": gpus[slot % len(gpus)]} for slot in range(jobs or len(gpus))]
    cores = usable_cores()
    count = jobs or min(cores, MOST_ON_CPU)
    return [{"OMP_NUM_THREADS": str(max(1, cores // count))} for _ in range(count)]
