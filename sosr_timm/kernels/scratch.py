"""Working memory of the CPU kernel."""

from __future__ import annotations

import threading

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

KEPT = threading.local()  # of this thread: buffers by name and dtype, and the last Scratch
LARGEST_KEPT = 2**20  # numbers; fresh memory costs a page fault every 4 KB


class Scratch:
    """Memory for blocks of up to `rows` rows, reused from block to block and, where it is not large, from call to call.

    Attributes:
        first: (rows,) int64, where each row begins in a flat block.
    """

    def __init__(self, rows: int, classes: int, dtype: torch.dtype):
        self.rows, self.classes, self.dtype = rows, classes, dtype
        self.first = np.arange(0, rows * classes, classes)
        self.buffers: dict[str, tuple[Tensor, NDArray]] = {}

    def get(self, name: str, rows: int) -> tuple[Tensor, NDArray]:
        """(rows, K) as a tensor and as a flat array of the same memory; it still holds the last user's numbers."""
        if name not in self.buffers:
            # The next call may train, and what is made under `torch.inference_mode` cannot be written to outside of it.
            with torch.inference_mode(False):
                flat = flat_buffer(name, self.rows * self.classes, self.dtype)
                self.buffers[name] = flat.view(self.rows, self.classes), flat.numpy()
        tensor, flat = self.buffers[name]
        return (tensor, flat) if rows == self.rows else (tensor[:rows], flat[: rows * self.classes])


def scratch_for(rows: int, classes: int, dtype: torch.dtype) -> Scratch:
    """Return this thread's last `Scratch` if it has that shape, else a new one; so views are made once."""
    last = getattr(KEPT, "scratch", None)
    if last is not None and (last.rows, last.classes, last.dtype) == (rows, classes, dtype):
        return last
    scratch = Scratch(rows, classes, dtype)
    if rows * classes <= LARGEST_KEPT:
        KEPT.scratch = scratch
    return scratch


def flat_buffer(name: str, size: int, dtype: torch.dtype) -> Tensor:
    """Return (size,) memory, kept for the next request of that name."""
    key = f"{name} {dtype}"
    kept = getattr(KEPT, key, None)
    if kept is None or len(kept) < size:
        kept = torch.empty(size, dtype=dtype)
        if size <= LARGEST_KEPT:
            setattr(KEPT, key, kept)
    return kept[:size]
