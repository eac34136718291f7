"""Data sets of the package `datasets`, read by index through timm's reader: a class, or any number of labels."""

from __future__ import annotations

import hashlib
from typing import Any

import numpy as np
from PIL import Image
from timm.data.target_transforms import MultiLabelTarget

from sosr_timm.data.sources.reader_options import ReaderOptions, create_dataset
from sosr_timm.data.sources.source import ReaderSource, SourceInfo
from sosr_timm.errors import UserError, one_line

LOOKED_AT = 256  # samples that a fingerprint reads


class HuggingFaceSource(ReaderSource):
    """Images and their class, or their vector of labels where `info.multi_hot`.

    Args:
        reader: timm's.
        info: of the whole set.
        dense: targets are vectors already.
    """

    def __init__(self, reader: Any, info: SourceInfo, dense: bool):
        super().__init__(reader, info)
        self.encode = MultiLabelTarget(info.num_classes, dense) if info.multi_hot else None

    def _label(self, target: Any) -> int | np.ndarray:
        return int(target) if self.encode is None else self.encode(target).numpy()

    def load(self, index: int) -> tuple[Image.Image, int | np.ndarray]:
        file, target = self.reader[index][:2]
        with file:
            image = Image.open(file)
            image.load()
        return image, self._label(target)

    def read_labels(self) -> np.ndarray:
        labels = [self._label(target) for target in self.reader.iter_targets()]
        return np.asarray(labels, dtype=np.float32 if self.info.multi_hot else np.int64)

    def name(self, index: int) -> str:
        return f"{self.reader.split} image {index} ({super().name(index)})"

    def fingerprint(self) -> str:
        digest = hashlib.sha256(f"{len(self)} {self.reader.split}".encode())
        for index in range(0, len(self), max(1, len(self) // LOOKED_AT)):
            file, target = self.reader[index][:2]
            with file:
                digest.update(file.read())
            digest.update(str(target).encode())
        return digest.hexdigest()


def open_hugging_face(
    dataset: str, root: str, split: str, classes: dict[str, int] | None, reading: ReaderOptions
) -> HuggingFaceSource:
    """A split of "hfds/NAME"; NAME may be a folder.

    Args:
        dataset: "hfds/NAME".
        root: folder of the package's cache.
        split: as the data set calls it.
        classes: index of each class, or None for the data set's own.
        reading: fields of image and target.

    Raises:
        UserError: the package is missing or refuses, or nothing says how many labels there are.
    """
    reader = create_dataset(dataset, root, split, False, class_map=classes, **reading.arguments()).reader
    dense = reading.target_format == "multihot"
    try:
        file, first = reader[0][:2]
        file.close()
    except (AssertionError, IndexError, KeyError, OSError, TypeError, ValueError) as error:
        raise UserError(
            f"data set '{dataset}': image '{reader.image_key}' or target '{reader.label_key}' cannot be read "
            f"({one_line(error)}); --input-key and --target-key name fields"
        ) from None
    many = dense or isinstance(first, (list, tuple, np.ndarray))
    numbers = getattr(reader, "class_to_idx", None) or {}
    names = tuple(sorted(numbers, key=numbers.get)) if not dense else ()
    count = (len(first) if dense else len(names)) or reading.num_classes
    if many and not count:
        raise UserError(f"data set '{dataset}' does not say how many labels there are: give --num-classes")
    info = SourceInfo(num_classes=count or None, class_names=names or None, multi_hot=many)
    return HuggingFaceSource(reader, info, dense)
