"""The row kernel on the CPU: it walks over the rows in blocks that stay in the cache."""

from __future__ import annotations

import numpy as np
import torch
from torch import Tensor

from sosr_timm.kernels.cpu_block import Block
from sosr_timm.kernels.scratch import Scratch
from sosr_timm.kernels.work import PARTS, RowWork, inner_dtype

BLOCK = 131_072  # numbers in a block for each thread, 512 KB of float32; see docs/kernels.md for other sizes


def run_rows(logits: Tensor, work: RowWork, gradient: Tensor | None = None, incoming: Tensor | float = 1.0) -> Tensor:
    """All terms of a loss and their common gradient.

    Args:
        logits: (M, K) on the CPU, any floating dtype and strides, without a gradient.
        work: the loss and the target.
        gradient: (M, K) contiguous in the dtype of the logits, to be filled, or None.
        incoming: factor of the gradient.

    Returns:
        (5,) float32, float64 for float64 logits: means over the rows of what each of `PARTS` contributes.

    Raises:
        RuntimeError: torch's own, for a class index outside [0, K), before any state has changed.
    """
    rows, classes = logits.shape
    dtype = inner_dtype(logits.dtype)
    if work.index is not None:
        logits.gather(1, work.index.unsqueeze(1))
    step = min(rows, max(1, BLOCK * torch.get_num_threads() // classes))
    scratch = Scratch(step, classes, dtype)
    values = np.zeros((len(PARTS), rows), dtype=np.float64 if dtype == torch.float64 else np.float32)
    direct = gradient is not None and gradient.dtype == dtype
    scale = None if gradient is None else float(incoming) / rows
    for start in range(0, rows, step):
        here = slice(start, min(start + step, rows))
        power = gradient[here] if direct else scratch.get("power", here.stop - start)
        Block(logits[here].to(dtype).contiguous(), here, work, scratch, values).run(power, scale)
        if gradient is not None and not direct:
            gradient[here] = power
    return torch.from_numpy(values.sum(axis=1) / np.asarray(rows, values.dtype))
