"""Batches of a set in memory: images stay on the device as bytes, augmentation is a few operations per batch."""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np
import torch
from torch import Tensor

from sosr_timm.data.loaders.batch import Batch
from sosr_timm.data.loaders.prefetch import ahead
from sosr_timm.data.order.order import EvaluationOrder, TrainingSampler
from sosr_timm.data.order.seeding import MIXING, seed_words
from sosr_timm.data.sources.source import ArraySource, ImageSource, Subset
from sosr_timm.data.transforms.batch import Draws, crop_and_flip, cutout, draw_epoch, erase, pad, to_device
from sosr_timm.data.transforms.image import ImageFormat
from sosr_timm.data.transforms.mixing import Mixing
from sosr_timm.data.transforms.normalize import Normalization
from sosr_timm.errors import UserError

LARGEST = 1 << 30  # bytes of images that are kept on the device without being asked to


def arrays_of(source: ImageSource) -> tuple[np.ndarray, np.ndarray] | None:
    """The images (N, H, W) or (N, H, W, 3) uint8 and labels (N,) or (N, K) of a set in memory; None for any other."""
    if isinstance(source, ArraySource):
        return source.images, source.labels
    if isinstance(source, Subset):
        arrays = arrays_of(source.source)
        if arrays is None:
            return None
        labels = arrays[1][source.indices] if source.labels is None else source.labels
        return arrays[0][source.indices], labels
    pairs = getattr(source, "pairs", None)
    images, labels = getattr(pairs, "data", None), getattr(pairs, "targets", None)
    if images is None or labels is None or getattr(pairs, "target_transform", None) is not None:
        return None
    images, labels = np.asarray(images), np.asarray(labels)
    fits = images.dtype == np.uint8 and images.ndim in (3, 4) and labels.shape == images.shape[:1]
    return (images, labels) if fits else None


def why_not(source: ImageSource, image_format: ImageFormat) -> str | None:
    """Why a set cannot be kept on the device in the model's input format; None where it can."""
    arrays = arrays_of(source)
    if arrays is None:
        return "its images are files"
    images = arrays[0]
    if images.shape[1:3] != (image_format.height, image_format.width):
        return f"its images are {images.shape[1]} x {images.shape[2]} and would have to be resized"
    if images.ndim == 4 and image_format.channels != 3:
        return f"its images are in colour and the model takes {image_format.channels} channels"
    if image_format.image_mode != {1: "L", 3: "RGB"}.get(image_format.channels):
        return f"its images would have to be converted to {image_format.image_mode}"
    return None


def why_not_evaluated(source: ImageSource, image_format: ImageFormat) -> str | None:
    """Why a set cannot be kept on the device as it is evaluated, which may be cropped; None where it can."""
    if image_format.crop_pct != 1.0:
        return f"--crop-pct {image_format.crop_pct:g} resizes image by image"
    return why_not(source, image_format)


def choose_device(loader: str, no_prefetcher: bool, source: ImageSource, objection: str | None) -> bool:
    """Whether --loader means the device: the one decision of training and evaluation.

    Args:
        loader: "device", "workers", or "auto": the device where it can and the images are not too large for that.
        no_prefetcher: --no-prefetcher, which leaves all work on batches to loader processes.
        source: of the images.
        objection: why the device cannot make the batches; None where it can.

    Raises:
        UserError: the device is asked for and cannot make them.
    """
    if loader == "device" and no_prefetcher:
        raise UserError("--loader device contradicts --no-prefetcher")
    if loader == "device" and objection:
        raise UserError(f"--loader device: {objection}")
    if loader == "workers" or no_prefetcher or objection:
        return False
    return loader == "device" or arrays_of(source)[0].nbytes <= LARGEST


class DeviceImages:
    """A set in memory, on the device.

    Args:
        source: for which `why_not` has no objection.
        image_format: the model's input format.
        device: that holds the bytes.
        padding: black pixels on each side.
        channels_last: memory layout of the batches.
    """

    def __init__(
        self,
        source: ImageSource,
        image_format: ImageFormat,
        device: torch.device,
        padding: int = 0,
        channels_last: bool = False,
    ):
        images, labels = arrays_of(source)
        images = images if images.ndim == 4 else images[..., None]
        bytes_ = torch.from_numpy(np.require(images, requirements=["C", "W"]))
        if bytes_.shape[-1] != image_format.channels:
            bytes_ = bytes_.expand(-1, -1, -1, image_format.channels)
        self.images = pad(bytes_, padding).to(device).contiguous()
        self.labels = torch.from_numpy(np.asarray(labels, dtype=np.float32 if labels.ndim == 2 else np.int64)).to(
            device
        )
        self.size = (image_format.height, image_format.width)
        self.normalisation = Normalization(image_format, device)
        self.layout = torch.channels_last if channels_last else torch.contiguous_format

    def normalised(self, images: Tensor) -> Tensor:
        """(M, C, H, W) float32 in the layout of the batches, from uint8."""
        return self.normalisation(images.contiguous(memory_format=self.layout))


class DeviceTrainingBatches:
    """The batches of training, made on the device; the same stream of positions as with loader processes.

    Crop, flips and the place of the erased box are functions of (seed, epoch, sample); what is mixed and the noise in
    an erased box are functions of (seed, epoch, batch, rank).

    Args:
        source: the images.
        images: the same on the device.
        seed: of the run.
        rank: of the process.
        mixing: of the batch, or None.
        hflip: probability of a horizontal flip.
        vflip: probability of a vertical flip.
        erase_probability: of random erasing.
        erase_mode: "const" (the mean), "rand" (a colour) or "pixel" (noise).
        cutout_side: of Cutout's square in pixels, None without Cutout.
    """

    def __init__(
        self,
        source: ImageSource,
        images: DeviceImages,
        seed: int,
        rank: int,
        mixing: Mixing | None,
        *,
        hflip: float,
        vflip: float,
        erase_probability: float,
        erase_mode: str,
        cutout_side: int | None = None,
    ):
        self.source, self.images, self.seed, self.rank, self.mixing = source, images, seed, rank, mixing
        self.hflip, self.vflip = hflip, vflip
        self.erase_probability, self.erase_mode, self.cutout_side = erase_probability, erase_mode, cutout_side

    def batches(self, sampler: TrainingSampler, workers: int, pin_memory: bool) -> Iterator[Batch]:
        """The batches from the sampler's starting point to the end of training; no workers, nothing to pin."""
        return ahead(self._made(sampler), self.images.images.device)

    def _made(self, sampler: TrainingSampler) -> Iterator[Batch]:
        device = self.images.images.device
        epoch, draws = -1, None
        for key in sampler:
            if key.epoch != epoch:
                epoch, draws = key.epoch, draw_epoch(len(self.images.labels), self.seed, key.epoch, device)
            index = to_device(torch.tensor(key.indices), device)
            images, target = self._augment(index, draws.rows(index), epoch, key.batch), self.images.labels[index]
            if self.mixing is not None:
                images, target = self.mixing(images, target, self.seed, epoch, key.batch, self.rank)
            yield Batch(key.batch, images, target, (), key.indices)

    def _augment(self, index: Tensor, draws: Draws, epoch: int, batch: int) -> Tensor:
        data = self.images
        images = data.normalised(crop_and_flip(data.images, index, data.size, draws, self.hflip, self.vflip))
        if self.erase_probability:
            images = erase(images, draws, self.erase_probability, self._fill(images, epoch, batch))
        if self.cutout_side is not None:
            images = cutout(images, draws.hole, self.cutout_side)
        return images.contiguous(memory_format=data.layout)

    def _fill(self, images: Tensor, epoch: int, batch: int) -> Tensor:
        if self.erase_mode == "const":
            return images.new_zeros(())
        shape = images.shape if self.erase_mode == "pixel" else (*images.shape[:2], 1, 1)
        seed = seed_words(self.seed, MIXING, epoch, batch, self.rank, 1)[0]
        generator = torch.Generator(images.device).manual_seed(seed)
        return torch.randn(shape, generator=generator, device=images.device)


class DeviceEvaluationLoader:
    """The batches of an evaluation set on the device: bit for bit what the per-image transform gives.

    Args:
        images: on the device.
        order: of the batches.
    """

    def __init__(self, images: DeviceImages, order: EvaluationOrder):
        self.images, self.order = images, order

    def __len__(self) -> int:
        return len(self.order)

    def __iter__(self) -> Iterator[Batch]:
        data = self.images
        for batch in self.order:
            part = self.order.indices(batch)
            rows = data.images[part.start : part.stop].permute(0, 3, 1, 2)
            yield Batch(batch, data.normalised(rows), data.labels[part.start : part.stop], ())
