"""Batches that are sent as bytes and normalised on the model's device: a quarter of the data, the same bits."""

from __future__ import annotations

from collections.abc import Iterable, Iterator

import torch
from torch import Tensor

from sosr_timm.data.loaders.batch import Batch
from sosr_timm.data.transforms.batch import normalise
from sosr_timm.data.transforms.image import ImageFormat

BYTE_MODES = ("L", "RGB", "RGBA", "CMYK")


class Normalization:
    """(M, C, H, W) uint8 -> float32, with the bits that normalising image by image gives.

    Args:
        form: mean and standard deviation.
        device: of the images.
    """

    def __init__(self, form: ImageFormat, device: torch.device | str = "cpu"):
        self.device = torch.device(device)
        self.mean = torch.tensor(form.mean, device=device).view(-1, 1, 1)
        self.std = torch.tensor(form.std, device=device).view(-1, 1, 1)

    def __call__(self, images: Tensor) -> Tensor:
        return normalise(images, self.mean, self.std)


class NormalisedBatches:
    """The batches of a loader; those of bytes are moved to the device and normalised there.

    Args:
        loader: of batches.
        normalisation: on the model's device.
    """

    def __init__(self, loader: Iterable[Batch], normalisation: Normalization):
        self.loader, self.normalisation = loader, normalisation

    def __iter__(self) -> Iterator[Batch]:
        for batch in self.loader:
            if batch.images.dtype == torch.uint8:
                images = batch.images.to(self.normalisation.device, non_blocking=True)
                batch = batch._replace(images=self.normalisation(images))
            yield batch
