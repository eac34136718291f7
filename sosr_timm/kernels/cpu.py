"""The row kernel on the CPU, which processes the rows in blocks that stay in the cache."""

from __future__ import annotations

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from sosr_timm.kernels.cpu_block import Block
from sosr_timm.kernels.scratch import scratch_for
from sosr_timm.kernels.work import PARTS, TERMS, RowWork, inner_dtype

BLOCK = 131_072  # numbers in a block for each thread, 512 KB of float32; see docs/kernels.md for other sizes


def run_rows(
    logits: Tensor, work: RowWork, gradient: Tensor | None = None, incoming: Tensor | float = 1.0
) -> tuple[Tensor, dict[str, Tensor]]:
    """Compute all terms of a loss and the sum of their gradients.

    Args:
        logits: (M, K) on the CPU, any floating dtype and strides, without a gradient.
        work: the loss and the target.
        gradient: (M, K) contiguous in the dtype of the logits, to be filled, or None.
        incoming: factor of the gradient.

    Returns:
        loss: scalar float32, float64 for float64 logits.
        parts: scalars in the same format: means over the rows of what each of the work's terms contributes.

    Raises:
        RuntimeError: torch's own, for a class index outside [0, K), before any state has changed.
    """
    rows, classes = logits.shape
    dtype = inner_dtype(logits.dtype)
    index = None if work.index is None else work.index.numpy()
    if index is not None and np.maximum.reduce(index.view(np.uint64)) >= classes:  # negative ones are huge then
        logits.gather(1, work.index.unsqueeze(1))
    step = min(rows, max(1, BLOCK * torch.get_num_threads() // classes))
    scratch = scratch_for(step, classes, dtype)
    direct = gradient is not None and gradient.dtype == dtype
    block = Block(work, scratch, None if gradient is None else float(incoming) / rows)
    for start in range(0, rows, step):
        # A slice costs as much as a pass over a small batch, so where there is one block it is taken as it is.
        here = slice(start, start + step) if step < rows else None
        values, slopes = part(logits, here), part(gradient, here)
        if values.dtype != dtype or not values.is_contiguous():
            values = values.to(dtype).contiguous()
        power = (slopes, slopes.numpy().reshape(-1)) if direct else scratch.get("power", len(values))
        block.run(values, part(index, here), part(work.dense, here), *power)
        if gradient is not None and not direct:
            slopes.copy_(power[0])
    parts = {name: block.sums[name] / rows for name in PARTS}
    total = sum(parts[name] for name in PARTS if name in TERMS)
    return scalar(total, dtype), {name: scalar(parts[name], dtype) for name in work.parts}


def part(of_batch: Tensor | NDArray | None, here: slice | None) -> Tensor | NDArray | None:
    """Return these rows of an array or tensor, or all of them."""
    return of_batch if here is None or of_batch is None else of_batch[here]


def scalar(value: float, dtype: torch.dtype) -> Tensor:
    """Create a scalar tensor by way of NumPy, which takes a third of the time of `torch.tensor`."""
    return torch.from_numpy(np.array(value, np.float64 if dtype == torch.float64 else np.float32))
