"""`litdata/`: a data set that litdata has optimised, read by position from a local directory."""

from __future__ import annotations

import hashlib
import io
import json
import os
from pathlib import Path
from typing import Any

import numpy as np
from PIL import Image

from sosr_timm.data.sources.class_map import compare_classes, read_class_map
from sosr_timm.data.sources.names import have_splits, no_such_split, synonyms
from sosr_timm.data.sources.reader_options import ReaderOptions
from sosr_timm.data.sources.source import ImageSource, SourceInfo
from sosr_timm.errors import UserError, one_line
from sosr_timm.extras import import_extra

INDEX = "index.json"
CLASSES_FILE = "classes.txt"
# litdata's serializers that hold images and labels and run no code when they are read; above all not pickle.
FORMATS = {
    *("bool", "bytes", "float", "int", "jpeg", "jpeg_array", "json", "no_header_numpy", "no_header_tensor", "numpy"),
    *("pil", "str", "tensor", "text"),
}


class LitdataSource(ImageSource):
    """The images of an optimised data set.

    litdata starts threads in the process that reads, so each process opens the data set itself.

    Args:
        folder: of the data set.
        ends: (S,) int64, the position after the last sample of each chunk.
        fields: keys of image and label in a sample, or their positions.
        digest: SHA-256 of the index.
        info: about the data set.
    """

    def __init__(self, folder: Path, ends: np.ndarray, fields: tuple[Any, Any], digest: str, info: SourceInfo):
        self.folder, self.ends, self.fields, self.digest, self.info = folder, ends, fields, digest, info
        self._opened: tuple[int, Any] | None = None

    def __getstate__(self) -> dict[str, Any]:
        return {**self.__dict__, "_opened": None}

    def __len__(self) -> int:
        return int(self.ends[-1])

    def sample(self, index: int) -> tuple[Any, int]:
        """The image as it is stored, and the class.

        Raises:
            OSError: the sample cannot be read, or its label is no class number.
        """
        if self._opened is None or self._opened[0] != os.getpid():
            from litdata import StreamingDataset

            self._opened = os.getpid(), StreamingDataset(str(self.folder))
        try:
            sample = self._opened[1][int(index)]
            image, label = sample[self.fields[0]], sample[self.fields[1]]
            if isinstance(label, bool) or int(label) != label or label < 0:
                raise ValueError(f"label {one_line(repr(label), 40)} is no class number")
            if self.info.num_classes is not None and label >= self.info.num_classes:
                raise ValueError(f"label {int(label)} is none of {self.info.num_classes} classes")
        except Exception as error:  # litdata passes on whatever its readers raise
            raise OSError(f"litdata: {one_line(error)}") from None
        return image, int(label)

    def load(self, index: int) -> tuple[Image.Image, int]:
        image, label = self.sample(index)
        return as_image(image), label

    def read_labels(self) -> np.ndarray:
        labels = np.empty(len(self), np.int64)
        for index in range(len(self)):
            try:
                labels[index] = self.sample(index)[1]
            except OSError as error:
                raise UserError(f"{self.name(index)}: {one_line(error)}") from None
        return labels

    def name(self, index: int) -> str:
        return f"{self.folder} image {index}"

    def key(self, index: int) -> str:
        return f"image {index}"

    def fingerprint(self) -> str:
        return self.digest

    def shard_ends(self) -> np.ndarray:
        return self.ends


def as_image(stored: Any) -> Image.Image:
    """The image of what a sample holds: the bytes of an image file, a PIL image, or pixels as uint8.

    Raises:
        OSError: it is none of them, or damaged.
    """
    if isinstance(stored, (bytes, bytearray, memoryview)):
        image = Image.open(io.BytesIO(stored))
        image.load()
        return image
    if isinstance(stored, Image.Image):
        return stored
    if hasattr(stored, "numpy"):  # a tensor, (C, H, W) as torchvision decodes images
        stored = stored.numpy()
        stored = stored.transpose(1, 2, 0) if stored.ndim == 3 else stored
    if isinstance(stored, np.ndarray) and stored.dtype == np.uint8 and stored.ndim in (2, 3):
        if stored.ndim == 3 and stored.shape[2] not in (1, 3, 4):
            raise OSError(f"pixels of shape {stored.shape} are no image of 1, 3 or 4 channels")
        return Image.fromarray(stored[..., 0] if stored.ndim == 3 and stored.shape[2] == 1 else stored)
    raise OSError(f"a {type(stored).__name__} is no image: store the bytes of the image file")


def open_litdata(
    root: str | None, split: str, class_map: str = "", reading: ReaderOptions | None = None
) -> ImageSource:
    """The images of a split of a data set that `litdata.optimize` wrote.

    Args:
        root: its directory, or that of a directory for each split.
        split: name of the split.
        class_map: text file of class names in the order of their numbers.
        reading: `input_key` and `target_key` are the keys of image and label in a sample.

    Raises:
        UserError: litdata is missing, no data set there, missing or changed chunks, or fields that are not there.
    """
    import_extra("litdata", "litdata", "--dataset litdata/")
    reading = reading or ReaderOptions()
    reading.refuse("litdata/", "input_key", "target_key")
    folder = _folder_of(root, split)
    index = folder / INDEX
    try:
        text = index.read_bytes()
        content = json.loads(text)
        config, chunks = content["config"], content["chunks"]
        sizes = [int(chunk["chunk_size"]) for chunk in chunks]
        formats = {str(name).partition(":")[0] for name in config["data_format"]}
        compressed, encrypted = config.get("compression"), config.get("encryption")
        files = [(folder / str(chunk["filename"]), int(chunk["chunk_bytes"])) for chunk in chunks]
    except (OSError, ValueError, KeyError, TypeError) as error:
        raise UserError(f"{index}: no index of litdata ({one_line(error)})") from None
    if not sizes or min(sizes) < 1:
        raise UserError(f"{folder} holds no samples")
    if encrypted:
        raise UserError(f"{folder} is encrypted, which is not supported")
    other = ", ".join(sorted(formats - FORMATS))
    if other:
        raise UserError(
            f"{folder}: samples are stored as {other}, which is not read here (pickle can run code); optimise "
            "the data set with the bytes of each image file and an integer label"
        )
    for path, size in files:
        if not path.is_file():
            raise UserError(f"chunk {path} does not exist")
        if not compressed and path.stat().st_size != size:
            raise UserError(
                f"chunk {path} changed since it was written ({size:,} bytes then, {path.stat().st_size:,} now)"
            )
    ends = np.cumsum(sizes, dtype=np.int64)
    listed = class_map or next((str(p) for base in (folder, folder.parent) if (p := base / CLASSES_FILE).is_file()), "")
    classes = read_class_map(listed, folder) if listed else None
    info = SourceInfo(reading.num_classes) if classes is None else SourceInfo(len(classes), class_names=tuple(classes))
    source = LitdataSource(folder, ends, ("image", "label"), hashlib.sha256(text).hexdigest(), info)
    source.fields = _fields(source, reading)
    try:
        source.load(0)
    except OSError as error:
        raise UserError(f"{source.name(0)}: {one_line(error)}") from None
    if classes is None and info.num_classes is None:
        raise UserError(
            f"{folder} does not say how many classes there are: give --num-classes, or name them in "
            f"{folder / CLASSES_FILE}"
        )
    return compare_classes(source, class_map, classes) if class_map else source


def _folder_of(root: str | None, split: str) -> Path:
    if not root:
        raise UserError("--dataset litdata/ needs the directory of the optimised data set: --data-dir DIRECTORY")
    if "://" in root:
        raise UserError(f"--dataset litdata/: {root} is not local; mount it or copy it, and name its directory")
    base = Path(root)
    if not base.is_dir():
        raise UserError(f"data directory {base} does not exist")
    for name in synonyms(split):
        if (base / name / INDEX).is_file():
            return base / name
    there = [path.name for path in base.iterdir() if (path / INDEX).is_file()]
    if have_splits(there):
        raise no_such_split(f"data directory {base}", split, there)
    if (base / INDEX).is_file():
        return base
    raise UserError(f"data directory {base} holds no data set of litdata ({INDEX})")


def _fields(source: LitdataSource, reading: ReaderOptions) -> tuple[Any, Any]:
    """Keys of image and label, or 0 and 1 where samples are pairs."""
    from litdata import StreamingDataset

    try:
        first = StreamingDataset(str(source.folder))[0]
    except Exception as error:  # whatever its readers raise
        raise UserError(f"{source.name(0)}: litdata cannot read it ({one_line(error)})") from None
    if isinstance(first, (list, tuple)) and len(first) == 2 and not (reading.input_key or reading.target_key):
        return 0, 1
    fields = reading.input_key or "image", reading.target_key or "label"
    if not isinstance(first, dict) or any(name not in first for name in fields):
        has = f"the fields {', '.join(map(str, first))}" if isinstance(first, dict) else f"a {type(first).__name__}"
        raise UserError(
            f"{source.name(0)} is {has}, not {' and '.join(fields)}; --input-key and --target-key name the fields"
        )
    return fields
