"""Batches of images with boxes: resized, augmented as a pure function of (seed, epoch, image), padded to one size."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator
from functools import partial
from typing import Any, NamedTuple

import numpy as np
import torch
from PIL import Image
from torch import Tensor
from torch.utils.data import Dataset
from torchvision.transforms import v2
from torchvision.transforms.v2 import functional
from torchvision.tv_tensors import BoundingBoxes

from sosr_timm.data.loaders.batch import Batch, Unreadable
from sosr_timm.data.loaders.worker_loader import UNREADABLE, evaluation_loader, training_loader, without_gaps
from sosr_timm.data.order.order import BatchKey, EvaluationOrder, TrainingSampler
from sosr_timm.data.order.seeding import SAMPLE, seed_cpu
from sosr_timm.data.transforms.image_modes import to_mode
from sosr_timm.detection.voc import Scene, Scenes
from sosr_timm.errors import one_line

HALF = 0.5  # of the images are flipped
FLIP, SSD, NONE = "flip", "ssd", "none"
Augmentation = Callable[[dict[str, Any]], dict[str, Any]]


class Boxes(NamedTuple):
    """What an image batch is to be compared with.

    Attributes:
        sizes: (height, width) of each image in its padded place; they stay on the CPU.
        boxes: (n, 4) float32 of each image, in pixels of the resized image.
        labels: (n,) int64 of each image.
    """

    sizes: tuple[tuple[int, int], ...]
    boxes: tuple[Tensor, ...]
    labels: tuple[Tensor, ...]

    def to(self, device: torch.device, non_blocking: bool = False) -> Boxes:
        """The same on a device."""
        move = partial(Tensor.to, device=device, non_blocking=non_blocking)
        return Boxes(self.sizes, tuple(map(move, self.boxes)), tuple(map(move, self.labels)))


class Resize:
    """The size that images are shown in: the shorter side as asked for, unless the longer one would be too long."""

    def __init__(self, min_side: int, max_side: int):
        self.min_side, self.max_side = min_side, max_side

    def size(self, width: int, height: int) -> tuple[int, int]:
        """(width, height) of an image after it is resized."""
        factor = min(self.min_side / min(width, height), self.max_side / max(width, height))
        return max(1, round(width * factor)), max(1, round(height * factor))

    def __call__(self, image: Image.Image, boxes: np.ndarray) -> tuple[Image.Image, np.ndarray]:
        """An image and its boxes."""
        width, height = self.size(*image.size)
        scale = np.array([width / image.width, height / image.height] * 2, dtype=np.float32)
        return image.resize((width, height), Image.Resampling.BILINEAR), boxes * scale


def make_augmentation(name: str, mean: tuple[float, ...]) -> Augmentation:
    """The random changes of a training image and its boxes, torchvision's; their random state is torch's.

    Args:
        name: `flip`, `ssd` or `none`.
        mean: colour in [0, 1] that fills what an image is extended by.
    """
    steps: list[Any] = {
        FLIP: [v2.RandomHorizontalFlip(HALF)],
        SSD: [
            v2.RandomPhotometricDistort(),
            v2.RandomZoomOut(fill=tuple(round(255 * value) for value in mean)),
            v2.RandomIoUCrop(),
            v2.RandomHorizontalFlip(HALF),
            v2.SanitizeBoundingBoxes(),
        ],
        NONE: [],
    }[name]
    return v2.Compose(steps) if steps else lambda sample: sample


def load_image(scene: Scene, mode: str) -> Image.Image:
    """The image of a scene in a PIL mode.

    Raises:
        one of UNREADABLE: it cannot be read, or is not as large as its annotation says.
    """
    with Image.open(scene.image) as file:
        file.load()
        image = to_mode(file, mode)
    if image.size != (scene.width, scene.height):
        written = f"{scene.width} x {scene.height}"
        raise ValueError(f"{image.width} x {image.height} pixels, its annotation says {written}")
    return image


def padded(images: list[Tensor]) -> Tensor:
    """(M, C, H, W): images of different sizes in the upper left corners of a batch as large as the largest."""
    height, width = (max(image.shape[side] for image in images) for side in (1, 2))
    batch = images[0].new_zeros(len(images), len(images[0]), height, width)
    for place, image in zip(batch, images, strict=True):
        place[:, : image.shape[1], : image.shape[2]] = image
    return batch


def batch_of(position: int, samples: list[tuple[Tensor, np.ndarray, np.ndarray]], bad: tuple[Unreadable, ...]) -> Batch:
    """A batch from images (C, H, W) in [0, 1] with boxes and labels; one without images where there are none."""
    if not samples:
        return Batch(position, torch.empty(0), Boxes((), (), ()), bad)
    images = [image for image, _, _ in samples]
    target = Boxes(
        tuple((image.shape[1], image.shape[2]) for image in images),
        tuple(torch.as_tensor(boxes, dtype=torch.float32).reshape(-1, 4) for _, boxes, _ in samples),
        tuple(torch.as_tensor(labels, dtype=torch.int64) for _, _, labels in samples),
    )
    return Batch(position, padded(images), target, bad)


class DetectionBatches(Dataset):
    """Training batch by key.

    Args:
        data: the images.
        resize: to their size.
        augmentation: of one image; its random state is seeded for each image.
        mode: PIL mode of the images.
        seed: of the run.
        difficult: train on difficult objects too.
    """

    mixing = None  # of classifiers

    def __init__(
        self, data: Scenes, resize: Resize, augmentation: Augmentation, mode: str, seed: int, difficult: bool = False
    ):
        self.data, self.resize, self.augmentation = data, resize, augmentation
        self.mode, self.seed, self.difficult = mode, seed, difficult

    def batches(self, sampler: TrainingSampler, workers: int, pin_memory: bool) -> Iterator[Batch]:
        """The batches from the sampler's starting point to the end of training."""
        return iter(training_loader(self, sampler, workers, pin_memory))

    def __getitem__(self, key: BatchKey) -> Batch:
        samples: list[tuple[Tensor, np.ndarray, np.ndarray] | None] = []
        unreadable = []
        for index in key.indices:
            scene = self.data.scenes[index]
            try:
                image = load_image(scene, self.mode)
            except UNREADABLE as error:
                unreadable.append(Unreadable(index, str(scene.image), one_line(error)))
                samples.append(None)
                continue
            seed_cpu(self.seed, SAMPLE, key.epoch, index)
            samples.append(self.augmented(image, scene))
        return batch_of(key.batch, without_gaps(samples), tuple(unreadable))

    def augmented(self, image: Image.Image, scene: Scene) -> tuple[Tensor, np.ndarray, np.ndarray]:
        """An image as (C, H, W) in [0, 1], its boxes and their labels, changed at random."""
        kept = np.ones(len(scene.labels), dtype=bool) if self.difficult else ~scene.difficult
        boxes = BoundingBoxes(scene.boxes[kept], format="XYXY", canvas_size=(image.height, image.width))
        # Without boxes, the crops that look for some would never end.
        if kept.any():
            sample = {"image": image, "boxes": boxes, "labels": torch.from_numpy(scene.labels[kept])}
            sample = self.augmentation(sample)
        else:
            sample = {"image": image, "boxes": boxes, "labels": torch.zeros(0, dtype=torch.int64)}
        image, resized = self.resize(sample["image"], np.asarray(sample["boxes"]))
        return _as_tensor(image), resized, np.asarray(sample["labels"])


class DetectionEvaluation(Dataset):
    """Evaluation batch by number, without randomness; the first unreadable image leaves the batch empty."""

    def __init__(self, data: Scenes, resize: Resize, mode: str, order: EvaluationOrder):
        self.data, self.resize, self.mode, self.order = data, resize, mode, order

    def loader(self, workers: int, pin_memory: bool) -> Iterable[Batch]:
        """This process's batches."""
        return evaluation_loader(self, workers, pin_memory)

    def __getitem__(self, batch: int) -> Batch:
        return self.at(self.order.indices(batch), batch)

    def at(self, indices: Iterable[int], batch: int) -> Batch:
        """The images at some positions of the set as a batch with a number."""
        samples = []
        for index in indices:
            scene = self.data.scenes[index]
            try:
                image = load_image(scene, self.mode)
            except UNREADABLE as error:
                return batch_of(batch, [], (Unreadable(index, str(scene.image), one_line(error)),))
            image, boxes = self.resize(image, scene.boxes)
            samples.append((_as_tensor(image), boxes, scene.labels))
        return batch_of(batch, samples, ())


def _as_tensor(image: Image.Image) -> Tensor:
    return functional.to_dtype(functional.pil_to_tensor(image), torch.float32, scale=True)
