"""The data set of this package: images by index, each with a name for messages."""

from __future__ import annotations

import hashlib
import os
from abc import ABC, abstractmethod
from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np
from PIL import Image

from sosr_timm.errors import UserError


@dataclass(frozen=True)
class SourceInfo:
    """Facts about a data set; None where one is not known.

    Attributes:
        num_classes: number of classes.
        in_chans: channels of the images as stored.
        image_size: pixels of a side, where all images are squares of one size.
        mean: of the pixels in [0, 1], a value per channel.
        std: of the pixels in [0, 1], a value per channel.
        class_names: in the order of the labels.
        origin: where images and labels come from, for a run's record; only what JSON can hold.
        multi_hot: an image has any number of labels: `load` gives a float32 vector of length num_classes, 1 where a
            label applies, instead of a class index.
    """

    num_classes: int | None = None
    in_chans: int | None = None
    image_size: int | None = None
    mean: tuple[float, ...] | None = None
    std: tuple[float, ...] | None = None
    class_names: tuple[str, ...] | None = None
    origin: dict[str, Any] = field(default_factory=dict, hash=False)
    multi_hot: bool = False


def names_of_classes(names: Sequence[str] | None, count: int) -> tuple[str, ...] | None:
    """The names of a model's classes: those of its data set, and numbers for what the model has beyond them.

    None where nobody knows names.
    """
    return (*names, *map(str, range(len(names), count))) if names else None


class ImageSource(ABC):
    """Images and labels by index.

    Attributes:
        info: about the data set.
    """

    info: SourceInfo = SourceInfo()

    @abstractmethod
    def __len__(self) -> int:
        """Number of images."""

    @abstractmethod
    def load(self, index: int) -> tuple[Image.Image, int | np.ndarray]:
        """The image and its label, or its labels as a (num_classes,) vector where `info.multi_hot`.

        Raises:
            OSError: the image cannot be read.
        """

    def read_labels(self) -> np.ndarray:
        """(N,) int64, or (N, K) float32 where `info.multi_hot`: every label, if need be by loading each image."""
        labels = [self.load(index)[1] for index in range(len(self))]
        return np.array(labels, dtype=np.float32 if self.info.multi_hot else np.int64)

    def name(self, index: int) -> str:
        """The image's name for messages: its path where it has one."""
        return f"image {index}"

    def key(self, index: int) -> str:
        """The image's name wherever the data set is stored: its path below the data set's, where it has one."""
        return self.name(index)

    def held_out_key(self, index: int) -> str:
        """The name by which `--val-fraction` decides; images of one name are held out together."""
        return self.key(index)

    def fingerprint(self) -> str:
        """A hash that differs where two processes see different data: count and every name."""
        digest = hashlib.sha256(str(len(self)).encode())
        for index in range(len(self)):
            digest.update(self.name(index).encode("utf-8", "surrogateescape") + b"\0")
        return digest.hexdigest()

    def shard_ends(self) -> np.ndarray | None:
        """(S,) int64: the position after the last image of each shard, where the images are stored in shards."""
        return None

    def stay_in_shards(self) -> None:  # noqa: B027 - most sources have none
        """Expect loads that stay in a few shards for a while, so that a shard is best read ahead as a whole."""


class ArraySource(ImageSource):
    """A data set in memory.

    Args:
        images: (N, H, W) or (N, H, W, 3) uint8.
        labels: (N,) integers, or (N, K) float32 where `info.multi_hot`.
        info: about the data set.
        title: of the set, for messages.
    """

    def __init__(self, images: np.ndarray, labels: np.ndarray, info: SourceInfo, title: str):
        self.images, self.labels, self.info, self.title = images, labels, info, title

    def __len__(self) -> int:
        return len(self.images)

    def load(self, index: int) -> tuple[Image.Image, int | np.ndarray]:
        label = self.labels[index]
        return Image.fromarray(self.images[index]), label if self.info.multi_hot else int(label)

    def read_labels(self) -> np.ndarray:
        return np.asarray(self.labels, dtype=np.float32 if self.info.multi_hot else np.int64)

    def name(self, index: int) -> str:
        return f"{self.title} image {index}"

    def fingerprint(self) -> str:
        digest = hashlib.sha256(np.ascontiguousarray(self.labels).tobytes())
        digest.update(np.ascontiguousarray(self.images[:: max(1, len(self) // 256)]).tobytes())
        return digest.hexdigest()


class ReaderSource(ImageSource):
    """Images of timm's readers (directories, tar files, Hugging Face datasets).

    Args:
        reader: of `timm.data.create_dataset(...)`.
        info: about the data set.
    """

    def __init__(self, reader: Any, info: SourceInfo):
        self.reader, self.info = reader, info

    def __len__(self) -> int:
        return len(self.reader)

    def load(self, index: int) -> tuple[Image.Image, int]:
        file, label = self.reader[index][:2]
        with file:
            image = Image.open(file)
            image.load()
        return image, int(label)

    def read_labels(self) -> np.ndarray:
        # timm's reader of tar files has them in a list of their own, that of directories beside the paths.
        labels = getattr(self.reader, "targets", None)
        if labels is None and hasattr(self.reader, "samples"):
            labels = [label for _, label in self.reader.samples]
        return super().read_labels() if labels is None else np.asarray(labels, dtype=np.int64)

    def name(self, index: int) -> str:
        return str(self.reader.filename(index, absolute=True))

    def key(self, index: int) -> str:
        return str(self.reader.filename(index)).removeprefix("./").replace(os.sep, "/")


class PairSource(ImageSource):
    """Any map-style data set of (PIL image, label) pairs, such as torchvision's."""

    def __init__(self, pairs: Any, info: SourceInfo, title: str):
        self.pairs, self.info, self.title = pairs, info, title

    def __len__(self) -> int:
        return len(self.pairs)

    def load(self, index: int) -> tuple[Image.Image, int]:
        image, label = self.pairs[index][:2]
        return image, int(label)

    def read_labels(self) -> np.ndarray:
        labels = getattr(self.pairs, "targets", None)
        if labels is None or getattr(self.pairs, "target_transform", None) is not None:
            return super().read_labels()
        return np.asarray(labels, dtype=np.int64)

    def name(self, index: int) -> str:
        samples = getattr(self.pairs, "samples", None)
        return str(samples[index][0]) if samples else f"{self.title} image {index}"

    def key(self, index: int) -> str:
        root, name = getattr(self.pairs, "root", None), self.name(index)
        return os.path.relpath(name, root).replace(os.sep, "/") if root and os.path.isabs(name) else name


class Subset(ImageSource):
    """Some images of another source.

    Args:
        source: all images.
        indices: which, in order.
        labels: (len(indices),) int64, instead of the source's own; None: the source's.
    """

    def __init__(self, source: ImageSource, indices: np.ndarray, labels: np.ndarray | None = None):
        self.source, self.indices, self.labels, self.info = source, indices, labels, source.info

    def __len__(self) -> int:
        return len(self.indices)

    def load(self, index: int) -> tuple[Image.Image, int | np.ndarray]:
        image, label = self.source.load(int(self.indices[index]))
        return image, label if self.labels is None else int(self.labels[index])

    def read_labels(self) -> np.ndarray:
        return self.source.read_labels()[self.indices] if self.labels is None else self.labels

    def fingerprint(self) -> str:
        digest = super().fingerprint()
        return digest if self.labels is None else hashlib.sha256(digest.encode() + self.labels.tobytes()).hexdigest()

    def name(self, index: int) -> str:
        return self.source.name(int(self.indices[index]))

    def key(self, index: int) -> str:
        return self.source.key(int(self.indices[index]))

    def shard_ends(self) -> np.ndarray | None:
        ends = self.source.shard_ends()
        if ends is None or (np.diff(self.indices) < 0).any():
            return None
        ends = np.searchsorted(self.indices, ends, side="left").astype(np.int64)
        return ends[np.diff(ends, prepend=0) > 0]

    def stay_in_shards(self) -> None:
        self.source.stay_in_shards()

    def held_out_key(self, index: int) -> str:
        return self.source.held_out_key(int(self.indices[index]))


def spread(source: ImageSource, count: int | None) -> ImageSource:
    """`count` samples of a source, spread over it evenly, because class directories are sorted by class.

    Raises:
        UserError: less than one sample.
    """
    if count is not None and count < 1:
        raise UserError(f"{count} samples of a split were asked for; at least 1 is needed")
    if count is None or count >= len(source):
        return source
    return Subset(source, np.linspace(0, len(source), count, endpoint=False).astype(np.int64))


class Joined(ImageSource):
    """The images of several sources of the same classes.

    Args:
        sources: at least one; all have the `info` of the first.
    """

    def __init__(self, sources: list[ImageSource]):
        self.sources, self.info = sources, sources[0].info
        self.ends = np.cumsum([len(source) for source in sources])

    def __len__(self) -> int:
        return int(self.ends[-1])

    def _find(self, index: int) -> tuple[ImageSource, int]:
        place = int(np.searchsorted(self.ends, index, side="right"))
        return self.sources[place], index - (int(self.ends[place - 1]) if place else 0)

    def load(self, index: int) -> tuple[Image.Image, int]:
        source, place = self._find(index)
        return source.load(place)

    def read_labels(self) -> np.ndarray:
        return np.concatenate([source.read_labels() for source in self.sources])

    def name(self, index: int) -> str:
        source, place = self._find(index)
        return source.name(place)

    def key(self, index: int) -> str:
        source, place = self._find(index)
        return source.key(place)

    def shard_ends(self) -> np.ndarray | None:
        ends = [source.shard_ends() for source in self.sources]
        if any(part is None for part in ends):
            return None
        return np.concatenate([part + end - part[-1] for part, end in zip(ends, self.ends, strict=True)])

    def stay_in_shards(self) -> None:
        for source in self.sources:
            source.stay_in_shards()

    def held_out_key(self, index: int) -> str:
        source, place = self._find(index)
        return source.held_out_key(place)
