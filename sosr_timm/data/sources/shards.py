"""`wds/`: images in webdataset's tar shards, read by position through an index."""

from __future__ import annotations

import hashlib
import io
import os
import zlib
from collections import OrderedDict
from collections.abc import Iterable, Sequence
from contextlib import suppress
from pathlib import Path
from typing import Any

import numpy as np
from PIL import Image

from sosr_timm.data.sources.class_map import compare_classes, read_class_map
from sosr_timm.data.sources.reader_options import ReaderOptions
from sosr_timm.data.sources.shard_index import FILE_NAME, Part, ShardIndex, load_index
from sosr_timm.data.sources.shard_names import find_shards, is_pattern, split_words
from sosr_timm.data.sources.shard_samples import digest_of_members
from sosr_timm.data.sources.source import ImageSource, SourceInfo, Subset
from sosr_timm.errors import UserError

OPEN_SHARDS = 64  # files that a process keeps open
FINGERPRINT_SAMPLES = 32  # images whose bytes are compared over splits and processes
CLASSES_FILE = "classes.txt"  # beside the shards or above them: names of the classes, one a line


class OpenShards:
    """The bytes of shards by number; a process keeps the last used ones open.

    Reading is by position (`pread`), so processes that inherit an open file do not share where it stands.

    Args:
        paths: of the shards.
        parts: about each.
        read_ahead: ask the system to read a shard as a whole when it is opened, for orders that stay in a few shards.
    """

    def __init__(self, paths: Sequence[Path], parts: Sequence[Part], read_ahead: bool = False):
        self.paths, self.parts, self.read_ahead = paths, parts, read_ahead
        self._open: OrderedDict[int, int] = OrderedDict()

    def __getstate__(self) -> dict[str, Any]:
        return {**self.__dict__, "_open": OrderedDict()}

    def __del__(self) -> None:
        for descriptor in getattr(self, "_open", {}).values():
            os.close(descriptor)

    def read(self, number: int, offset: int, size: int) -> bytes:
        """Bytes of a shard.

        Raises:
            OSError: it cannot be read, ends before, or is not the one that was indexed.
        """
        content = os.pread(self._descriptor(number), size, offset)
        while len(content) < size:  # the system may give less at once
            more = os.pread(self._descriptor(number), size - len(content), offset + len(content))
            if not more:
                raise OSError(f"shard {self.paths[number]} ends after {len(content):,} of {size:,} bytes")
            content += more
        return content

    def _descriptor(self, number: int) -> int:
        found = self._open.get(number)
        if found is not None:
            self._open.move_to_end(number)
            return found
        descriptor = os.open(self.paths[number], os.O_RDONLY | getattr(os, "O_CLOEXEC", 0))
        if os.fstat(descriptor).st_size != self.parts[number].shard.size:
            os.close(descriptor)
            raise OSError(f"shard {self.paths[number]} changed while it was used")
        if self.read_ahead and hasattr(os, "posix_fadvise"):
            with suppress(OSError):  # advice that some file systems do not take
                os.posix_fadvise(descriptor, 0, 0, os.POSIX_FADV_WILLNEED)
        while len(self._open) >= OPEN_SHARDS:
            os.close(self._open.popitem(last=False)[1])
        self._open[number] = descriptor
        return descriptor


class ShardSource(ImageSource):
    """The images of indexed shards.

    Args:
        paths: of the shards, in the order of the images.
        parts: what the index knows about each.
        numbers: class of each label, where labels are numbered anew; None: labels are classes.
        info: about the data set.
    """

    def __init__(self, paths: Sequence[Path], parts: Sequence[Part], numbers: np.ndarray | None, info: SourceInfo):
        self.paths, self.parts, self.numbers, self.info = list(paths), list(parts), numbers, info
        self.files = OpenShards(self.paths, self.parts)
        self.ends = np.cumsum([part.shard.samples for part in parts], dtype=np.int64)
        self.first_rows = [part.index.rows(part.number).start for part in parts]

    def __len__(self) -> int:
        return int(self.ends[-1])

    def _find(self, index: int) -> tuple[int, ShardIndex, int]:
        """The shard of an image, the index that knows it, and its row there."""
        if not 0 <= index < len(self):
            raise IndexError(f"image {index} of {len(self)}")
        number = int(np.searchsorted(self.ends, index, side="right"))
        place = index - (int(self.ends[number - 1]) if number else 0)
        return number, self.parts[number].index, self.first_rows[number] + place

    def content(self, index: int) -> bytes:
        """The bytes of an image file.

        Raises:
            OSError: they cannot be read, or are not those that were indexed.
        """
        number, table, row = self._find(index)
        content = self.files.read(number, int(table.array("offsets")[row]), int(table.array("sizes")[row]))
        if table.checksums and zlib.crc32(content) != int(table.array("checksums")[row]):
            raise OSError("its bytes are not those that were indexed (CRC-32)")
        return content

    def has_checksums(self) -> bool:
        """Whether every image is compared with its CRC-32 when it is loaded."""
        return all(part.index.checksums for part in self.parts)

    def load(self, index: int) -> tuple[Image.Image, int]:
        image = Image.open(io.BytesIO(self.content(index)))
        image.load()
        _, table, row = self._find(index)
        label = int(table.array("labels")[row])
        return image, label if self.numbers is None else int(self.numbers[label])

    def read_labels(self) -> np.ndarray:
        labels = np.concatenate([part.array("labels") for part in self.parts])
        return labels.astype(np.int64) if self.numbers is None else self.numbers[labels]

    def name(self, index: int) -> str:
        number, table, row = self._find(index)
        return f"{self.paths[number]}/{table.name(row)}"

    def key(self, index: int) -> str:
        _, table, row = self._find(index)
        return table.name(row)

    def fingerprint(self) -> str:
        digest = hashlib.sha256(str(len(self)).encode())
        for part in self.parts:
            digest.update(f"{part.shard.digest} {part.shard.labels_digest}\0".encode())
        if self.numbers is not None:
            digest.update(self.numbers.tobytes())
        # Images of one size may have the same names in the shards of two splits.
        for index in np.unique(np.linspace(0, len(self) - 1, FINGERPRINT_SAMPLES).astype(np.int64)).tolist():
            with suppress(OSError):  # an unreadable image is named when it is loaded
                digest.update(self.content(index))
        return digest.hexdigest()

    def shard_ends(self) -> np.ndarray:
        return self.ends

    def stay_in_shards(self) -> None:
        self.files.read_ahead = True


def open_shards(root: str | None, split: str, class_map: str = "", reading: ReaderOptions | None = None) -> ImageSource:
    """The images of a split of tar shards that `sosr-data index` has indexed.

    Args:
        root: directory of the shards, or a pattern of them, see `find_shards`.
        split: name of a split, or a pattern below `root`.
        class_map: text file of class names in the order of their numbers.
        reading: `input_key` and `target_key` have to be those of the index.

    Raises:
        UserError: shards that are missing, not indexed or changed since, or classes that are not clear.
    """
    reading = reading or ReaderOptions()
    reading.refuse("wds/", "input_key", "target_key")
    paths = find_shards(root, split)
    indices = {folder: _index_of(folder) for folder in dict.fromkeys(path.parent for path in paths)}
    for index in indices.values():
        _check_keys(index, reading)
    if Path(root).is_dir() and not is_pattern(split):
        for folder, index in indices.items():
            kinds = {split_words(path.name, split) for path in paths if path.parent == folder}
            check_complete(folder, [name for name in index.numbers if split_words(name, split) in kinds])
    parts = [_part(path, indices[path.parent]) for path in paths]
    base = Path(root) if Path(root).is_dir() else paths[0].parent
    return _with_classes(paths, parts, base, class_map)


def _index_of(folder: Path) -> ShardIndex:
    path = folder / FILE_NAME
    if not path.is_file():
        raise UserError(f"the shards in {folder} have no index; make it once with: sosr-data index {folder}")
    return load_index(path)


def check_complete(folder: Path, names: Iterable[str]) -> None:
    """Refuse a directory from which indexed shards are gone: an epoch would silently be shorter.

    Raises:
        UserError: with the first one.
    """
    gone = [name for name in names if not (folder / name).is_file()]
    if gone:
        more = f" ({len(gone):,} are missing)" if len(gone) > 1 else ""
        raise UserError(
            f"shard {folder / gone[0]} was indexed and is missing{more}; copy it again, or index the rest: "
            f"sosr-data index {folder}"
        )


def _check_keys(index: ShardIndex, reading: ReaderOptions) -> None:
    for flag, given, stored in (
        ("--input-key", reading.input_key, index.input_key),
        ("--target-key", reading.target_key, index.target_key),
    ):
        if given is not None and given != stored:
            raise UserError(
                f"{flag} {given}: {index.path} was made with {stored or 'the default'}; index the shards again: "
                f"sosr-data index {index.path.parent} {flag} '{given}'"
            )


def _part(path: Path, index: ShardIndex) -> Part:
    """What the index knows about a shard.

    Raises:
        UserError: nothing, or the shard changed since.
    """
    again = f"run again: sosr-data index {path.parent}"
    number = index.numbers.get(path.name)
    if number is None:
        raise UserError(f"shard {path} is not in the index beside it; {again}")
    known, stat = index.shards[number], path.stat()
    if stat.st_size != known.size:
        raise UserError(
            f"shard {path} changed since it was indexed ({known.size:,} bytes then, {stat.st_size:,} now); {again}"
        )
    # A copy has another time. Then the headers decide.
    if stat.st_mtime_ns != known.modified and digest_of_members(path) != known.digest:
        raise UserError(f"shard {path} changed since it was indexed: its members are not the same; {again}")
    return Part(index, number)


def _with_classes(paths: list[Path], parts: list[Part], base: Path, class_map: str) -> ImageSource:
    tables = {id(part.index): part.index for part in parts}.values()
    texts = {None if table.texts is None else tuple(table.texts) for table in tables}
    if len(texts) > 1:
        folders = " and ".join(sorted(str(table.path.parent) for table in tables))
        raise UserError(f"the shards in {folders} name their classes differently; put them into one directory")
    (names,) = texts
    if names is not None:
        return _named(paths, parts, names, base, class_map)
    listed = class_map or next(
        (str(path) for folder in (paths[0].parent, base) if (path := folder / CLASSES_FILE).is_file()), ""
    )
    most, where = max((int(part.array("labels").max()), str(path)) for path, part in zip(paths, parts, strict=True))
    if not listed:
        return ShardSource(paths, parts, None, SourceInfo(num_classes=most + 1))
    classes = read_class_map(listed, base)
    if most >= len(classes):
        raise UserError(f"shard {where}: label {most} is none of the {len(classes)} classes of {listed}")
    source = ShardSource(paths, parts, None, SourceInfo(len(classes), class_names=tuple(classes)))
    return compare_classes(source, listed, classes) if class_map else source


def _named(paths: list[Path], parts: list[Part], names: tuple[str, ...], base: Path, class_map: str) -> ImageSource:
    """Shards whose labels are names of classes."""
    if not class_map:
        return ShardSource(paths, parts, None, SourceInfo(len(names), class_names=names))
    classes = read_class_map(class_map, base)
    numbers = np.array([classes.get(name, -1) for name in names], np.int64)
    info = SourceInfo(len(classes), class_names=tuple(sorted(classes, key=classes.get)))
    source: ImageSource = ShardSource(paths, parts, numbers, info)
    kept = np.flatnonzero(source.read_labels() >= 0)
    if not len(kept):
        raise UserError(f"{base}: --class-map {class_map} names none of its classes")
    if len(kept) < len(source):
        source = Subset(source, kept)
    used = np.unique(np.concatenate([part.array("labels") for part in parts]))
    left_out = [names[number] for number in used if names[number] not in classes]
    return compare_classes(source, class_map, classes, left_out)
