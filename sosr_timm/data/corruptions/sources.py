"""Corrupted data sets: made from the images of another one, or read from the files of CIFAR-10-C and CIFAR-100-C."""

from __future__ import annotations

import dataclasses
from pathlib import Path

import numpy as np
from numpy.random import MT19937, RandomState, SeedSequence
from PIL import Image

from sosr_timm.data.corruptions.functions import CORRUPTIONS, corrupt
from sosr_timm.data.corruptions.parameters import SEVERITIES
from sosr_timm.data.sources.source import ArraySource, ImageSource, SourceInfo
from sosr_timm.data.transforms.image import ImageFormat, evaluation_transform
from sosr_timm.errors import UserError, one_line

LABELS = "labels.npy"


class CorruptedSource(ImageSource):
    """The images of a source as a model sees them, resized and cropped, then corrupted.

    An image is a function of seed, index, corruption and severity. Grey images become RGB, are corrupted, and become
    grey again.

    Args:
        source: of the clean images.
        image_format: of the model; with `loaded_format` its images are neither resized nor cropped again.
        corruption: its name.
        severity: 1 to 5.
        seed: of the random numbers.
        form: whose strengths, see `corrupt`.

    Raises:
        UserError: images that are not square.
    """

    def __init__(
        self,
        source: ImageSource,
        image_format: ImageFormat,
        corruption: str,
        severity: int,
        seed: int,
        form: str,
    ):
        if image_format.height != image_format.width:
            size = f"{image_format.height} x {image_format.width} pixels"
            raise UserError(f"corruptions take square images, not {size}: give --img-size")
        self.source, self.image_format, self.form = source, image_format, form
        self.corruption, self.severity, self.seed = corruption, severity, seed
        self.info = dataclasses.replace(source.info, image_size=image_format.height)
        self._crop = evaluation_transform(image_format, as_bytes=True)

    @property
    def loaded_format(self) -> ImageFormat:
        """The format of the model, for images that have its size already."""
        return dataclasses.replace(self.image_format, crop_pct=1.0, crop_mode="center")

    def __len__(self) -> int:
        return len(self.source)

    def load(self, index: int) -> tuple[Image.Image, int | np.ndarray]:
        image, label = self.source.load(index)
        pixels = self._crop(image.convert("RGB")).permute(1, 2, 0).numpy()
        corruption = list(CORRUPTIONS).index(self.corruption)
        random = RandomState(MT19937(SeedSequence([self.seed, index, corruption, self.severity])))
        found = corrupt(pixels, self.corruption, self.severity, random, self.form)
        return Image.fromarray(found).convert(self.image_format.image_mode), label

    def read_labels(self) -> np.ndarray:
        return self.source.read_labels()

    def name(self, index: int) -> str:
        return f"{self.source.name(index)} ({self.corruption}, severity {self.severity})"

    def key(self, index: int) -> str:
        return self.source.key(index)


def open_published(folder: str | Path, corruption: str, severity: int, info: SourceInfo) -> ArraySource:
    """One severity of a corruption from the files of CIFAR-10-C or CIFAR-100-C: NAME.npy and labels.npy.

    Args:
        folder: that holds the files.
        corruption: its name.
        severity: 1 to 5.
        info: about the clean images.

    Raises:
        UserError: a file is missing, damaged, or no such array.
    """
    images, labels = (_read(Path(folder) / name) for name in (f"{corruption}.npy", LABELS))
    count = len(images) // len(SEVERITIES)
    square = images.ndim == 4 and images.shape[1] == images.shape[2] and images.shape[3] == 3
    if not square or images.dtype != np.uint8 or len(images) % len(SEVERITIES) or not count:
        raise UserError(f"{folder}/{corruption}.npy: expected (5 N, S, S, 3) bytes, not {images.dtype}{images.shape}")
    if labels.shape not in ((len(images),), (count,)) or labels.dtype.kind not in "iu":
        raise UserError(f"{folder}/{LABELS}: expected {len(images)} integers, not {labels.dtype}{labels.shape}")
    part = slice((severity - 1) * count, severity * count)
    labels = np.asarray(labels[part] if len(labels) == len(images) else labels).astype(np.int64)
    if labels.min() < 0:
        raise UserError(f"{folder}/{LABELS}: a label of {labels.min()}")
    if info.num_classes is not None and labels.max() >= info.num_classes:
        raise UserError(f"{folder}/{LABELS}: a label of {labels.max()}, and the model has {info.num_classes} classes")
    info = dataclasses.replace(info, in_chans=3, image_size=images.shape[1])
    return ArraySource(images[part], labels, info, f"{corruption}, severity {severity},")


def _read(path: Path) -> np.ndarray:
    try:
        return np.load(path, mmap_mode="r", allow_pickle=False)
    except FileNotFoundError:
        raise UserError(f"{path}: no such file; the directory of CIFAR-10-C holds it") from None
    except (OSError, ValueError, EOFError) as error:
        raise UserError(f"{path}: no array that can be read ({one_line(error)})") from None
