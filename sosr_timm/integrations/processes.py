"""Sums over the processes of torch.distributed, whoever started them."""

from __future__ import annotations

import torch
import torch.distributed as dist
from torch import Tensor


def process_rank() -> int:
    """This process, from 0; 0 without torch.distributed."""
    return dist.get_rank() if dist.is_available() and dist.is_initialized() else 0


def sum_over_processes(tensor: Tensor) -> Tensor:
    """The tensor added up over all processes, on its own device; itself without torch.distributed.

    Every process must call it: `loss.end_epoch(sum_over_processes)`.
    """
    if not (dist.is_available() and dist.is_initialized()) or dist.get_world_size() == 1:
        return tensor
    total = tensor.detach().clone()
    # NCCL knows no CPU tensors, and a state that was just loaded is one.
    if total.device.type == "cpu" and "gloo" not in dist.get_backend_config():
        total = total.to(torch.accelerator.current_accelerator())
    dist.all_reduce(total)
    return total.to(tensor.device)
