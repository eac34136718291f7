"""Class directories inside a .zip or .tar file, read image by image without unpacking it."""

from __future__ import annotations

import io
import lzma
import os
import tarfile
import zipfile
import zlib
from abc import ABC, abstractmethod
from collections.abc import Sequence
from dataclasses import dataclass
from functools import lru_cache
from pathlib import Path
from typing import Any

import numpy as np
from PIL import Image
from timm.utils import natural_key

from sosr_timm.data.sources.class_folders import known_endings
from sosr_timm.data.sources.class_map import compare_classes, read_class_map
from sosr_timm.data.sources.names import have_splits, match_split, no_such_split, sort_classes
from sosr_timm.data.sources.source import ImageSource, SourceInfo
from sosr_timm.errors import UserError, one_line

FAULTS = (OSError, EOFError, RuntimeError, NotImplementedError, zipfile.BadZipFile, zlib.error, lzma.LZMAError)


class Archive(ABC):
    """The files of an archive by name.

    Each process opens the archive itself, so that loader processes do not share a position in it.

    Args:
        path: of the archive.
    """

    def __init__(self, path: Path):
        self.path = path
        self._file: Any = None
        self._process: int | None = None

    def __getstate__(self) -> dict[str, Any]:
        return {**self.__dict__, "_file": None, "_process": None}

    @abstractmethod
    def names(self) -> list[str]:
        """Every regular file in it."""

    @abstractmethod
    def open(self) -> None:
        """Open the archive in this process."""

    @abstractmethod
    def content(self, name: str) -> bytes:
        """The bytes of a file, from the open archive."""

    def read(self, name: str) -> bytes:
        """The bytes of a file.

        Raises:
            OSError: it cannot be read or is damaged.
        """
        try:
            if self._process != os.getpid():
                self.open()
                self._process = os.getpid()
            return self.content(name)
        except FAULTS as error:
            raise OSError(f"in {self.path.name}: {one_line(error)}") from None


class ZipArchive(Archive):
    """A .zip file."""

    def __init__(self, path: Path):
        super().__init__(path)
        with zipfile.ZipFile(path) as file:
            self.infos = {info.filename: info for info in file.infolist() if not info.is_dir()}
        if any(info.flag_bits & 1 for info in self.infos.values()):
            raise UserError(f"{path} is encrypted; unpack it and name the directory")

    def names(self) -> list[str]:
        return list(self.infos)

    def open(self) -> None:
        self._file = zipfile.ZipFile(self.path)

    def content(self, name: str) -> bytes:
        return self._file.read(self.infos[name])


class TarArchive(Archive):
    """A .tar file that is not compressed."""

    def __init__(self, path: Path):
        super().__init__(path)
        with tarfile.open(path, "r:") as file:
            self.places = {info.name: (info.offset_data, info.size) for info in file if info.isreg()}

    def names(self) -> list[str]:
        return list(self.places)

    def open(self) -> None:
        self._file = open(self.path, "rb")  # noqa: SIM115 - stays open as long as the data set

    def content(self, name: str) -> bytes:
        offset, size = self.places[name]
        content = os.pread(self._file.fileno(), size, offset)
        if len(content) < size:
            raise EOFError(f"{name} ends after {len(content)} of {size} bytes")
        return content


@dataclass(frozen=True)
class ArchiveLayout:
    """What an archive holds.

    Attributes:
        archive: with the images.
        images: path below the directory that holds the splits or the classes -> name in the archive.
        splits: names of the splits; none where the classes are there at once.
    """

    archive: Archive
    images: dict[str, str]
    splits: tuple[str, ...]


def read_archive(path: Path, endings: str | None = None) -> ArchiveLayout:
    """The images and splits of an archive.

    A directory that all images are in does not count: shapes.zip may hold shapes/train/CLASS/1.png or
    train/CLASS/1.png. Neither do hidden files and what macOS adds to archives.

    Args:
        path: of the archive.
        endings: file endings that count as images (".png;.jpg"); those that timm takes for images where None.

    Raises:
        UserError: it is damaged, encrypted or holds no image.
    """
    stat = path.stat()
    return _read_archive(path, known_endings(endings), stat.st_mtime_ns, stat.st_size)


@lru_cache(maxsize=4)
def _read_archive(path: Path, endings: tuple[str, ...], modified: int, size: int) -> ArchiveLayout:
    """The training and the evaluation split are often in one archive, so it is listed once."""
    try:
        archive = ZipArchive(path) if path.suffix.lower() == ".zip" else TarArchive(path)
    except (*FAULTS, tarfile.TarError) as error:
        raise UserError(f"data directory {path}: {one_line(error)}") from None
    parts = {}
    for name in archive.names():
        words = [word for word in name.split("/") if word not in ("", ".")]
        hidden = any(word.startswith(".") or word == "__MACOSX" for word in words)
        if words and not hidden and words[-1].lower().endswith(endings):
            parts[name] = words
    if not parts:
        raise UserError(f"data directory {path} holds no image ({', '.join(endings)})")
    while _is_wrapped(list(parts.values())):
        parts = {name: words[1:] for name, words in parts.items()}
    tops = {words[0] for words in parts.values() if len(words) > 1}
    images = {"/".join(words): name for name, words in parts.items()}
    return ArchiveLayout(archive, images, tuple(sorted(tops)) if have_splits(tops) else ())


def _is_wrapped(parts: list[list[str]]) -> bool:
    """Whether every image is in one directory that is neither a split nor a class."""
    top = parts[0][0]
    return all(words[0] == top for words in parts) and min(map(len, parts)) > 2 and not have_splits([top])


class ArchiveSource(ImageSource):
    """The images of an archive, or of one split in it.

    Args:
        archive: that holds them.
        files: path below the class directories' directory, and name in the archive, of each.
        labels: (N,) int64.
        info: about the data set.
    """

    def __init__(self, archive: Archive, files: Sequence[tuple[str, str]], labels: np.ndarray, info: SourceInfo):
        self.archive, self.files, self.labels, self.info = archive, files, labels, info

    def __len__(self) -> int:
        return len(self.files)

    def load(self, index: int) -> tuple[Image.Image, int]:
        image = Image.open(io.BytesIO(self.archive.read(self.files[index][1])))
        image.load()
        return image, int(self.labels[index])

    def read_labels(self) -> np.ndarray:
        return self.labels

    def name(self, index: int) -> str:
        return f"{self.archive.path}/{self.files[index][1]}"

    def key(self, index: int) -> str:
        return self.files[index][0]


def open_archive(layout: ArchiveLayout, split: str, class_map: str = "") -> ArchiveSource:
    """The images of one split of an archive, labelled and sorted as timm does it for class directories.

    Args:
        layout: of `read_archive`.
        split: name of a split; an archive without splits has all of its images in each.
        class_map: text file of class names in the order of their numbers; classes that it does not name are left out.

    Raises:
        UserError: no such split, or images that are in no class directory.
    """
    path, images = layout.archive.path, layout.images
    where = f"data directory {path}"
    if layout.splits:
        found = match_split(split, layout.splits)
        if found is None:
            raise no_such_split(where, split, layout.splits)
        images = {key.removeprefix(f"{found}/"): name for key, name in images.items() if key.startswith(f"{found}/")}
        where += f", {found}"
    keys = sorted(images, key=lambda key: (natural_key(key), key))
    outside = next((key for key in keys if "/" not in key), None)
    if outside:
        raise UserError(f"{where}: image {outside} is in no class directory (CLASS/{outside})")
    classes = {key: key.split("/")[-2] for key in keys}
    numbers = read_class_map(class_map, path.parent) if class_map else None
    if numbers is None:
        numbers = {name: number for number, name in enumerate(sort_classes(classes.values()))}
    left_out = [name for name in classes.values() if name not in numbers]
    keys = [key for key in keys if classes[key] in numbers]
    if not keys:
        raise UserError(f"{where}: --class-map {class_map} names none of its classes")
    names = tuple(sorted(numbers, key=numbers.get))
    labels = np.array([numbers[classes[key]] for key in keys], dtype=np.int64)
    info = SourceInfo(len(names), class_names=names)
    source = ArchiveSource(layout.archive, [(key, images[key]) for key in keys], labels, info)
    return compare_classes(source, class_map, numbers, left_out) if class_map else source
