"""What a loader gives: a batch, and the images that could not be read."""

from __future__ import annotations

from collections.abc import Sequence
from typing import NamedTuple

import numpy as np
import torch
from torch import Tensor


class Unreadable(NamedTuple):
    """An image that could not be read.

    Attributes:
        index: position in the data set.
        name: its path.
        reason: what the reader said.
    """

    index: int
    name: str
    reason: str


class Batch(NamedTuple):
    """What a loader gives.

    Attributes:
        position: of the batch in its epoch.
        images: (M, C, H, W) float32; uint8 until they are normalised.
        target: (M,) int64, or (M, K) float32 where images have many labels or the batch went through Mixup or CutMix.
        unreadable: images that could not be read.
        indices: positions of a training batch's images in the data set; a batch of several views has each once.
    """

    position: int
    images: Tensor
    target: Tensor
    unreadable: tuple[Unreadable, ...]
    indices: Sequence[int] = ()


def stack_labels(labels: list[int | np.ndarray]) -> Tensor:
    """(M,) int64 of class indices, or (M, K) float32 of vectors of labels."""
    if isinstance(labels[0], np.ndarray):
        return torch.from_numpy(np.stack(labels).astype(np.float32))
    return torch.tensor(labels, dtype=torch.int64)
