"""Data sets of the package `datasets`, read by index through timm's reader: a class, or any number of labels."""

from __future__ import annotations

import hashlib
from typing import Any

import numpy as np
from PIL import Image
from timm.data.target_transforms import MultiLabelTarget

from sosr_timm.data.sources.names import sort_classes
from sosr_timm.data.sources.reader_options import ReaderOptions, create_dataset
from sosr_timm.data.sources.source import ReaderSource, SourceInfo
from sosr_timm.errors import UserError, one_line

FINGERPRINT_SAMPLES = 256


class HuggingFaceSource(ReaderSource):
    """Images and their class, or their vector of labels where `info.multi_hot`.

    Args:
        reader: timm's.
        info: about the data set.
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

    def key(self, index: int) -> str:
        # The stored path is not used: it may be missing or the same for every image, and reading it loads the image.
        return f"{self.reader.split} image {index}"

    def fingerprint(self) -> str:
        digest = hashlib.sha256(f"{len(self)} {self.reader.split}".encode())
        for index in range(0, len(self), max(1, len(self) // FINGERPRINT_SAMPLES)):
            file, target = self.reader[index][:2]
            with file:
                digest.update(file.read())
            digest.update(str(target).encode())
        return digest.hexdigest()


def open_hugging_face(
    dataset: str, root: str | None, split: str, classes: dict[str, int] | None, reading: ReaderOptions
) -> HuggingFaceSource:
    """A split of "hfds/NAME"; NAME may be a directory.

    Labels that are text become classes: the distinct labels of all splits, in natural order.

    Args:
        dataset: "hfds/NAME".
        root: cache directory of the package `datasets`; None for its default.
        split: as the data set calls it.
        classes: index of each class, or None for the data set's own.
        reading: fields of image and target.

    Raises:
        UserError: the package is missing or refuses, a label is missing or invalid, or nothing says how many labels
            there are.
    """
    reader = _open_reader(dataset, root, split, classes, reading)
    dense = reading.target_format == "multihot"
    stored = [] if dense or reader.target_keys else _distinct(dataset, reader, reader.dataset)
    if classes is None and any(isinstance(label, str) for label in stored):
        classes = _text_classes(dataset, reader, reading)
        reader = _open_reader(dataset, root, split, classes, reading)
    _check_labels(dataset, reader, stored, classes, reading.num_classes)
    try:
        file, first = reader[0][:2]
        file.close()
    except (AssertionError, IndexError, KeyError, OSError, TypeError, ValueError) as error:
        raise _wrong_fields(dataset, reader, error) from None
    many = dense or isinstance(first, (list, tuple, np.ndarray))
    numbers = getattr(reader, "class_to_idx", None) or {}
    names = tuple(sorted(numbers, key=numbers.get)) if not dense else ()
    count = (len(first) if dense else len(names)) or reading.num_classes
    if many and not count:
        raise UserError(f"data set '{dataset}' does not say how many labels there are: give --num-classes")
    info = SourceInfo(num_classes=count or None, class_names=names or None, multi_hot=many)
    return HuggingFaceSource(reader, info, dense)


def _open_reader(
    dataset: str, root: str | None, split: str, classes: dict[str, int] | None, reading: ReaderOptions
) -> Any:
    return create_dataset(dataset, root, split, False, class_map=classes, **reading.arguments()).reader


def _wrong_fields(dataset: str, reader: Any, error: Exception) -> UserError:
    return UserError(
        f"data set '{dataset}': image '{reader.image_key}' or target '{reader.label_key}' cannot be read "
        f"({one_line(error)}); --input-key and --target-key name fields"
    )


def _text_classes(dataset: str, reader: Any, reading: ReaderOptions) -> dict[str, int]:
    """Class -> index from the text labels of every split, all of which are in the cache by now."""
    import datasets

    trust = {"trust_remote_code": True} if reading.trust_remote_code else {}
    splits = datasets.load_dataset(dataset.partition("/")[2], cache_dir=reader.root, **trust)
    labelled = [part for part in splits.values() if reader.label_key.split("/")[0] in part.column_names]
    texts = {label for part in labelled for label in _distinct(dataset, reader, part) if label is not None}
    return {name: index for index, name in enumerate(sort_classes(texts))}


def _distinct(dataset: str, reader: Any, part: Any) -> list:
    """The distinct labels of a split as they are stored, read column by column; lists are flattened."""
    import pyarrow as pa
    import pyarrow.compute as pc

    def flat(column: Any) -> Any:
        while pa.types.is_list(column.type) or pa.types.is_large_list(column.type):
            column = pc.list_flatten(column)
        return column

    table, field = part.data.table, reader.label_key
    first, *others = [field] if field in table.column_names else field.split("/")
    try:
        column = flat(table.column(first))
        for name in others:
            column = flat(pc.struct_field(column, name))
    except (KeyError, pa.ArrowException) as error:
        raise _wrong_fields(dataset, reader, error) from None
    return pc.unique(column).to_pylist()


def _check_labels(
    dataset: str, reader: Any, stored: list, classes: dict[str, int] | None, num_classes: int | None
) -> None:
    """Raise where a label is not a class: otherwise an image that is fine would be reported as unreadable."""
    where = f"data set '{dataset}', split '{reader.split}'"
    name_of = reader._source_names  # index -> name, of a ClassLabel
    limit = len(name_of) or num_classes
    for label in stored:
        if label is None:
            raise UserError(f"{where}: an image has no label, its '{reader.label_key}' is empty")
        if classes is not None:
            if label not in classes and name_of.get(label) not in classes:
                raise UserError(f"{where}: label {name_of.get(label, label)!r} is not in --class-map")
        elif not isinstance(label, (int, float)) or not float(label).is_integer():
            raise UserError(f"{where}: label {label!r} is not a class; --target-key names the field of the labels")
        elif label < 0 or (limit and label >= limit):
            raise UserError(f"{where}: label {label} is not a class" + (f" (there are {limit})" if limit else ""))
