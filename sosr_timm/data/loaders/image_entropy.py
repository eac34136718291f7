"""The entropy of stored images: how complex a picture is, before any augmentation."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import torch
from PIL import Image
from torch.utils.data import DataLoader, Dataset

from sosr_timm.data.loaders.worker_loader import UNREADABLE, load_in_mode
from sosr_timm.data.sources.source import ImageSource

CHUNK = 256  # images that a loader process reads at a time


def image_entropy(image: Image.Image) -> float:
    """Entropy of the grey values of an image, as the SOSR paper (arXiv 2103.15383, figure 1) needs it.

    H = -sum_b (n_b / n) log2(n_b / n), where n_b of the n pixels have the grey value b. The paper says "in
    black-and-white"; the formula of the grey values is Pillow's "L", 0.299 R + 0.587 G + 0.114 B, rounded.

    Args:
        image: in mode "L".

    Returns:
        bits, between 0 and 8.
    """
    counts = np.asarray(image.histogram(), dtype=np.float64)
    shares = counts[counts > 0] / counts.sum()
    return max(0.0, float(-(shares * np.log2(shares)).sum()))


class _Entropies(Dataset):
    """Chunk by number: (M, 2) float64, entropy and label of each image; NaN where an image cannot be read."""

    def __init__(self, source: ImageSource, indices: Sequence[int]):
        self.source, self.indices = source, indices

    def __len__(self) -> int:
        return -(-len(self.indices) // CHUNK)

    def __getitem__(self, chunk: int) -> torch.Tensor:
        rows = []
        for index in self.indices[chunk * CHUNK : (chunk + 1) * CHUNK]:
            try:
                image, label = load_in_mode(self.source, int(index), "L")
                rows.append((image_entropy(image), float(label)))
            except UNREADABLE:
                rows.append((float("nan"), float("nan")))
        return torch.tensor(rows, dtype=torch.float64)


def image_entropies(source: ImageSource, indices: Sequence[int], workers: int = 0) -> torch.Tensor:
    """(M, 2) float64: entropy in bits, and label, of some images of a set with one class per image.

    Args:
        source: of the images.
        indices: positions in it.
        workers: loader processes.

    Returns:
        NaN in both for an image that cannot be read.
    """
    loader = DataLoader(
        _Entropies(source, indices),
        batch_size=None,
        num_workers=workers,
        generator=torch.Generator(),  # without one of its own it would draw from the generator of training
    )
    return torch.cat([torch.empty(0, 2, dtype=torch.float64), *loader])
