"""Batches of tensors from images by index; all randomness is a function of seed, epoch and position."""

from __future__ import annotations

import signal
import tarfile
from collections.abc import Iterable, Iterator, Sequence
from typing import TypeVar

import numpy as np
import torch
from PIL import Image
from torch import Tensor
from torch.utils.data import DataLoader, Dataset

from sosr_timm.data.loaders.batch import Batch, Unreadable, stack_labels
from sosr_timm.data.order.order import BatchKey, EvaluationOrder, TrainingSampler
from sosr_timm.data.order.seeding import SAMPLE, seed_cpu
from sosr_timm.data.sources.source import ImageSource
from sosr_timm.data.transforms.aug_splits import in_splits
from sosr_timm.data.transforms.image import ImageFormat, Transform
from sosr_timm.data.transforms.image_modes import to_mode
from sosr_timm.data.transforms.mixing import Mixing
from sosr_timm.data.transforms.normalize import NormalisedBatches, Normalization
from sosr_timm.errors import one_line

Sample = TypeVar("Sample")
# What Pillow and the readers raise for a file that is not a complete image.
UNREADABLE = (OSError, ValueError, SyntaxError, EOFError, Image.DecompressionBombError, tarfile.TarError)
Readable = tuple[Tensor, int | np.ndarray, int]  # image, label, position in the data set


def load_in_mode(source: ImageSource, index: int, mode: str) -> tuple[Image.Image, int | np.ndarray]:
    """An image of a source in a PIL mode, and its label.

    Raises:
        one of UNREADABLE: the image cannot be read.
    """
    image, label = source.load(index)
    return to_mode(image, mode), label


def without_gaps(samples: Sequence[Sample | None]) -> list[Sample]:
    """The samples of a batch, each unreadable one (None) replaced; empty where all are unreadable.

    The batch keeps its size: mixing needs pairs, and each process must weigh the same in the gradient. So the next
    readable sample takes the place of an unreadable one; after the last readable one, the first does.
    """
    following = next((sample for sample in samples if sample is not None), None)
    if following is None:
        return []
    filled = []
    for sample in reversed(samples):
        following = following if sample is None else sample
        filled.append(following)
    return filled[::-1]


class TrainingBatches(Dataset):
    """Batch by key. An unreadable image is named, and the next readable one of the batch replaces it.

    Args:
        source: the images.
        transform: of one image, to (C, H, W) or, in views, (V, C, H, W), float32 or bytes; its random state is
            seeded for each image. Or one for each image size.
        image_mode: PIL mode of the images.
        seed: of the run.
        rank: of the process: mixing is drawn for each process.
        mixing: of the batch, or None.
        first_half: other transforms for the first half of each batch, one for each image size, or none.
        form: of transforms that give bytes, which are normalised a batch at a time; None of ones that normalise.
        device: that normalises; where batches are mixed, the loader process does it before.
    """

    def __init__(
        self,
        source: ImageSource,
        transform: Transform | tuple[Transform, ...],
        image_mode: str,
        seed: int,
        rank: int,
        mixing: Mixing | None,
        first_half: tuple[Transform, ...] = (),
        form: ImageFormat | None = None,
        device: torch.device | str = "cpu",
    ):
        self.source, self.image_mode = source, image_mode
        self.transforms = transform if isinstance(transform, tuple) else (transform,)
        self.first_half = first_half
        self.seed, self.rank, self.mixing = seed, rank, mixing
        self.form, self.device = form, device

    def batches(self, sampler: TrainingSampler, workers: int, pin_memory: bool) -> Iterator[Batch]:
        """The batches from the sampler's starting point to the end of training."""
        loader = training_loader(self, sampler, workers, pin_memory)
        return iter(loader if self.form is None else NormalisedBatches(loader, Normalization(self.form, self.device)))

    def __getitem__(self, key: BatchKey) -> Batch:
        samples: list[Readable | None] = []
        unreadable = []
        for place, index in enumerate(key.indices):
            try:
                image, label = load_in_mode(self.source, index, self.image_mode)
            except UNREADABLE as error:
                unreadable.append(Unreadable(index, self.source.name(index), one_line(error)))
                samples.append(None)
                continue
            copy = key.copies[place] if key.copies else 0
            seed_cpu(self.seed, SAMPLE, key.epoch, index, *((copy,) if copy else ()))
            samples.append((self._transform_at(place, key)(image), label, index))
        images, target, indices = self._stack(samples)
        if images.ndim == 5:
            images, target = in_splits(images, target)
        if self.mixing is not None and len(images):
            if self.form is not None:
                images = Normalization(self.form)(images)
            images, target = self.mixing(images, target, self.seed, key.epoch, key.batch, self.rank)
        return Batch(key.batch, images, target, tuple(unreadable), indices)

    def _transform_at(self, place: int, key: BatchKey) -> Transform:
        """The transform of a place in a batch."""
        spared = self.first_half and place < len(key.indices) // 2
        return (self.first_half if spared else self.transforms)[key.choice]

    @staticmethod
    def _stack(samples: list[Readable | None]) -> tuple[Tensor, Tensor, tuple[int, ...]]:
        filled = without_gaps(samples)
        if not filled:
            return torch.empty(0), torch.empty(0, dtype=torch.int64), ()
        images = torch.stack([image for image, _, _ in filled])
        return images, stack_labels([label for _, label, _ in filled]), tuple(index for _, _, index in filled)


class EvaluationBatches(Dataset):
    """Batch by number, without randomness; the first unreadable image is reported and leaves the batch empty.

    Where the transform gives several views of an image, they follow each other.
    """

    def __init__(self, source: ImageSource, transform: Transform, image_mode: str, order: EvaluationOrder):
        self.source, self.transform, self.image_mode, self.order = source, transform, image_mode, order

    def __getitem__(self, batch: int) -> Batch:
        images, labels = [], []
        for index in self.order.indices(batch):
            try:
                image, label = load_in_mode(self.source, index, self.image_mode)
                images.append(self.transform(image))
            except UNREADABLE as error:
                bad = Unreadable(index, self.source.name(index), one_line(error))
                return Batch(batch, torch.empty(0), torch.empty(0, dtype=torch.int64), (bad,))
            labels.append(label)
        stacked = torch.stack(images)
        if stacked.ndim == 5:
            stacked = stacked.flatten(0, 1)
        return Batch(batch, stacked, stack_labels(labels), ())


def _start_worker(worker: int) -> None:
    """Leave signals to the training process: a loader that ends first would look like an error."""
    for name in ("SIGINT", "SIGTERM", "SIGUSR1"):
        signal.signal(getattr(signal, name), signal.SIG_IGN)


def _as_it_is(batch: Batch) -> Batch:
    return batch


def _loader(batches: Dataset, sampler, workers: int, pin_memory: bool) -> DataLoader:
    return DataLoader(
        batches,
        batch_size=None,
        sampler=sampler,
        collate_fn=_as_it_is,  # torch's own makes lists of tuples
        num_workers=workers,
        pin_memory=pin_memory,
        worker_init_fn=_start_worker if workers else None,
    )


def training_loader(batches: TrainingBatches, sampler: TrainingSampler, workers: int, pin_memory: bool) -> DataLoader:
    """One stream of `Batch` from the sampler's starting point to the end of training."""
    return _loader(batches, sampler, workers, pin_memory)


def evaluation_loader(
    batches: EvaluationBatches, workers: int, pin_memory: bool, normalisation: Normalization | None = None
) -> Iterable[Batch]:
    """This process's batches of the evaluation set, normalised here where its transform gives bytes."""
    loader = _loader(batches, batches.order, workers, pin_memory)
    return loader if normalisation is None else NormalisedBatches(loader, normalisation)
