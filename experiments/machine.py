"""How many runs go side by side, and what each of them gets: a GPU, or some of the CPU's cores."""

from __future__ import annotations

import os

import torch

from sosr_timm.environment import usable_cores

MOST_ON_CPU = 4


def usable_gpus() -> list[str]:
    """The GPUs that CUDA shows this process, as CUDA_VISIBLE_DEVICES names them."""
    if os.environ.get("ACCELERATE_USE_CPU", "").lower() in ("1", "true", "yes"):
        return []
    count = torch.cuda.device_count()
    visible = os.environ.get("CUDA_VISIBLE_DEVICES")
    names = [name.strip() for name in visible.split(",")] if visible else [str(index) for index in range(count)]
    return names[:count]


def seats(jobs: int | None, launched: bool = False) -> list[dict[str, str]]:
    """The environment of each run that goes at the same time.

    Without GPUs a run gets its share of the cores: runs with one thread each get more done together than one run with
    all the threads.

    Args:
        jobs: how many; None: one on each GPU, without GPUs one on each core, but at most `MOST_ON_CPU`. More than
            there are GPUs share them in turn.
        launched: a launcher of the user's starts each run, and shares out the machine: one at a time, unless `jobs`.
    """
    if launched:
        return [{} for _ in range(jobs or 1)]
    gpus = usable_gpus()
    if gpus:
        return [{"CUDA_VISIBLE_DEVICES": gpus[seat % len(gpus)]} for seat in range(jobs or len(gpus))]
    cores = usable_cores()
    count = jobs or min(cores, MOST_ON_CPU)
    return [{"OMP_NUM_THREADS": str(max(1, cores // count))} for _ in range(count)]
