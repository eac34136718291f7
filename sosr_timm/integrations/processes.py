"""Sums over the processes of torch.distributed."""

from __future__ import annotations

import torch
import torch.distributed as dist
from torch import Tensor


def process_rank() -> int:
    """Rank of this process; 0 without torch.distributed."""
    return dist.get_rank() if dist.is_available() and dist.is_initialized() else 0


def sum_over_processes(tensor: Tensor) -> Tensor:
    """Add a tensor up over all processes, as in `loss.end_epoch(sum_over_processes)`. Every process must call this.

    Returns:
        the sum, on the device of the tensor; the tensor itself without torch.distributed.
    """
    if not (dist.is_available() and dist.is_initialized()) or dist.get_world_size() == 1:
        return tensor
    total = tensor.detach().clone()
    # NCCL does not support CPU tensors, and a state that was just loaded is on the CPU.
    if total.device.type == "cpu" and "gloo" not in dist.get_backend_config():
        total = total.to(torch.accelerator.current_accelerator())
    dist.all_reduce(total)
    return total.to(tensor.device)
