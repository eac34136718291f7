"""Working memory of the CPU kernel."""

from __future__ import annotations

import threading

import torch
from torch import Tensor

KEPT = threading.local()  # buffers of this thread by name and dtype: fresh memory costs a page fault every 4 KB
LARGEST_KEPT = 2**20  # numbers


class Scratch:
    """Memory for blocks, reused from one to the next and, where it is not large, from one call to the next."""

    def __init__(self, rows: int, classes: int, dtype: torch.dtype):
        self.shape, self.dtype, self.buffers = (rows, classes), dtype, {}

    def get(self, name: str, rows: int) -> Tensor:
        """(rows, K), what it holds is what its last user left."""
        if name not in self.buffers:
            self.buffers[name] = self.flat(name, self.shape[0] * self.shape[1]).view(self.shape)
        return self.buffers[name][:rows]

    def flat(self, name: str, size: int) -> Tensor:
        key = f"{name} {self.dtype}"
        kept = getattr(KEPT, key, None)
        if kept is None or len(kept) < size:
            kept = torch.empty(size, dtype=self.dtype)
            if size <= LARGEST_KEPT:
                setattr(KEPT, key, kept)
        return kept[:size]
