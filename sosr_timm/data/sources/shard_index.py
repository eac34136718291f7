"""The index beside tar shards: place, size, label and name of each sample, in one memory-mapped file."""

from __future__ import annotations

import json
import os
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import asdict, dataclass
from functools import lru_cache
from pathlib import Path
from typing import Any, BinaryIO

import numpy as np

from sosr_timm.data.sources.names import sort_classes
from sosr_timm.data.sources.shard_samples import ShardSamples, as_numbers
from sosr_timm.errors import UserError, one_line
from sosr_timm.files import replacing

FILE_NAME = "sosr-index.safetensors"
FORMAT = "sosr_timm shard index 1"
# Tensor -> dtype here and in safetensors. The widest come first, so that every one is aligned in the file.
TENSORS = {
    "offsets": (np.dtype("<i8"), "I64"),
    "name_ends": (np.dtype("<i8"), "I64"),
    "sizes": (np.dtype("<u4"), "U32"),
    "labels": (np.dtype("<i4"), "I32"),
    "checksums": (np.dtype("<u4"), "U32"),
    "names": (np.dtype("u1"), "U8"),
}
LARGEST_HEADER = 1 << 30


@dataclass(frozen=True)
class Shard:
    """A shard as it was when it was indexed.

    Attributes:
        name: of the file, in the index's directory.
        size: in bytes.
        modified: time of its last change, in ns.
        samples: in it.
        digest: SHA-256 over name, place, size and time of every member.
        labels_digest: SHA-256 over the labels.
    """

    name: str
    size: int
    modified: int
    samples: int
    digest: str
    labels_digest: str


class ShardIndex:
    """An index, mapped into memory: what is not read costs nothing, and processes share what is.

    Args:
        path: of the file.
        mapped: map the arrays into memory; False: read them at each use, because a map keeps the file open.

    Attributes:
        shards: in the order of their samples.
        texts: names of the classes, which `labels` count; None where the shards hold class numbers.
        input_key: endings of the images.
        target_key: ending of the labels, None for the default.
        checksums: whether there is a CRC-32 of each image.

    Raises:
        UserError: the file is damaged or is none of ours.
    """

    def __init__(self, path: Path, mapped: bool = True):
        self.path, self.mapped = path, mapped
        self._maps: dict[str, np.ndarray] = {}
        try:
            with open(path, "rb") as file:
                length = int.from_bytes(file.read(8), "little")
                if not 2 <= length <= min(LARGEST_HEADER, os.fstat(file.fileno()).st_size - 8):
                    raise ValueError("no safetensors file")
                header = json.loads(file.read(length))
                about = header.pop("__metadata__", {})
                if about.get("format") != FORMAT:
                    raise ValueError(f"its format is {about.get('format')!r}, this version reads {FORMAT!r}")
                content = json.loads(about["content"])
                self.shards = tuple(Shard(**shard) for shard in content["shards"])
                self.texts: list[str] | None = content["texts"]
                self.input_key, self.target_key = content["input_key"], content["target_key"]
                self.checksums = content["checksums"]
                self._places = _places(header, 8 + length, os.fstat(file.fileno()).st_size)
            self.ends = np.cumsum([shard.samples for shard in self.shards], dtype=np.int64)
            self._check()
        except (OSError, ValueError, KeyError, TypeError, RecursionError) as error:
            raise UserError(
                f"index {path} is damaged ({one_line(error)}); remove it and run 'sosr-data index'"
            ) from None
        self.numbers = {shard.name: number for number, shard in enumerate(self.shards)}

    def __getstate__(self) -> dict[str, Any]:
        return {**self.__dict__, "_maps": {}}

    def _check(self) -> None:
        """Raise where the tensors do not hold what the shards need."""
        samples = int(self.ends[-1]) if len(self.ends) else 0
        lengths = {name: place[1] for name, place in self._places.items()}
        wanted = dict.fromkeys(("offsets", "name_ends", "sizes", "labels"), samples)
        wanted["checksums"] = samples if self.checksums else 0
        wanted["names"] = int(self.array("name_ends")[-1]) if samples else 0
        if lengths != wanted:
            raise ValueError(f"tensors of {lengths}, not {wanted}")

    def array(self, name: str) -> np.ndarray:
        """A tensor of the file; mapped and read-only, unless maps are not wanted."""
        if not self.mapped:
            start, length = self._places[name]
            return np.fromfile(self.path, TENSORS[name][0], length, offset=start)
        found = self._maps.get(name)
        if found is None:
            start, length = self._places[name]
            dtype = TENSORS[name][0]
            found = np.empty(0, dtype)
            if length:
                found = np.memmap(self.path, dtype, mode="r", offset=start, shape=(length,))
            self._maps[name] = found
        return found

    def rows(self, number: int) -> slice:
        """The samples of a shard."""
        return slice(int(self.ends[number]) - self.shards[number].samples, int(self.ends[number]))

    def name(self, row: int) -> str:
        """The name of an image in its tar."""
        ends = self.array("name_ends")
        start = int(ends[row - 1]) if row else 0
        return self.array("names")[start : int(ends[row])].tobytes().decode("utf-8", "surrogateescape")


def _places(header: dict[str, Any], start: int, size: int) -> dict[str, tuple[int, int]]:
    """Where each tensor begins in the file, and its length."""
    places = {}
    for name, (dtype, code) in TENSORS.items():
        first, last = header[name]["data_offsets"]
        (length,) = header[name]["shape"]
        if header[name]["dtype"] != code or not 0 <= first <= last <= size - start:
            raise ValueError(f"tensor {name} does not fit")
        if last - first != length * dtype.itemsize:
            raise ValueError(f"tensor {name} has {last - first} bytes for {length} values")
        places[name] = (start + first, length)
    return places


@dataclass(frozen=True)
class Part:
    """One shard's samples in an index: what `write_index` joins.

    Attributes:
        index: that holds them.
        number: of the shard in it.
    """

    index: ShardIndex
    number: int

    @property
    def shard(self) -> Shard:
        return self.index.shards[self.number]

    def array(self, name: str) -> np.ndarray:
        rows = self.index.rows(self.number)
        if name == "checksums" and not self.index.checksums:
            return np.empty(0, TENSORS[name][0])
        if name not in ("names", "name_ends"):
            return self.index.array(name)[rows]
        ends = self.index.array("name_ends")
        start = int(ends[rows.start - 1]) if rows.start else 0
        if name == "names":
            return self.index.array(name)[start : int(ends[rows.stop - 1])]
        return ends[rows] - start


def write_index(path: Path, parts: Sequence[Part]) -> None:
    """Join the samples of shards into an index, which takes the place of `path` in one step.

    Class numbers stay; where a shard has names instead, all labels become names, numbered in natural order.

    Args:
        path: of the file.
        parts: one for each shard, in their order; all were read with the same keys.
    """
    first = parts[0].index
    checksums = all(part.index.checksums for part in parts)
    texts: list[str] | None = None
    if any(part.index.texts is not None for part in parts):
        known = {id(part.index): part.index for part in parts}
        texts = sort_classes(name for index in known.values() for name in _names_in(index))
    numbers = {} if texts is None else {name: number for number, name in enumerate(texts)}

    def labels(part: Part) -> np.ndarray:
        found = part.array("labels")
        if texts is None:
            return found
        if part.index.texts is None:
            return np.array([numbers[str(label)] for label in found], np.int32)
        return np.array([numbers[name] for name in part.index.texts], np.int32)[found]

    def name_ends() -> Iterator[np.ndarray]:
        start = 0
        for part in parts:
            ends = part.array("name_ends") + start
            start = int(ends[-1])
            yield ends

    arrays: dict[str, Callable[[], Iterable[np.ndarray]]] = {
        "offsets": lambda: (part.array("offsets") for part in parts),
        "name_ends": name_ends,
        "sizes": lambda: (part.array("sizes") for part in parts),
        "labels": lambda: map(labels, parts),
        "checksums": lambda: (part.array("checksums") for part in parts if checksums),
        "names": lambda: (part.array("names") for part in parts),
    }
    content = {
        "shards": [asdict(part.shard) for part in parts],
        "texts": texts,
        "input_key": first.input_key,
        "target_key": first.target_key,
        "checksums": checksums,
    }
    samples = sum(part.shard.samples for part in parts)
    lengths = dict.fromkeys(TENSORS, samples)
    lengths["checksums"] = samples if checksums else 0
    lengths["names"] = sum(len(part.array("names")) for part in parts)
    with replacing(path) as temporary, open(temporary, "wb") as file:
        _write(file, content, lengths, arrays)


def write_part(path: Path, shard: Shard, found: ShardSamples, input_key: str, target_key: str | None) -> None:
    """An index of one shard.

    Args:
        path: of the file.
        shard: about it.
        found: its samples.
        input_key: endings of the images.
        target_key: ending of the labels, None for the default.
    """
    labels, texts = as_numbers(found.labels), None
    if labels is None:
        texts = sort_classes(found.labels)
        numbers = {name: number for number, name in enumerate(texts)}
        labels = np.array([numbers[label] for label in found.labels], np.int32)
    names = [name.encode("utf-8", "surrogateescape") for name in found.names]
    arrays = {
        "offsets": np.array(found.offsets, np.int64),
        "name_ends": np.cumsum([len(name) for name in names], dtype=np.int64),
        "sizes": np.array(found.sizes, np.uint32),
        "labels": labels,
        "checksums": np.array(found.checksums, np.uint32),
        "names": np.frombuffer(b"".join(names), np.uint8),
    }
    content = {
        "shards": [asdict(shard)],
        "texts": texts,
        "input_key": input_key,
        "target_key": target_key,
        "checksums": bool(found.checksums),
    }
    with replacing(path) as temporary, open(temporary, "wb") as file:
        lengths = {name: len(array) for name, array in arrays.items()}
        _write(file, content, lengths, {name: lambda array=array: (array,) for name, array in arrays.items()})


def _write(
    file: BinaryIO,
    content: dict[str, Any],
    lengths: dict[str, int],
    arrays: dict[str, Callable[[], Iterable[np.ndarray]]],
) -> None:
    """The safetensors format, written piece by piece: an index may be larger than the memory."""
    header: dict[str, Any] = {"__metadata__": {"format": FORMAT, "content": json.dumps(content)}}
    start = 0
    for name, (dtype, code) in TENSORS.items():
        end = start + lengths[name] * dtype.itemsize
        header[name] = {"dtype": code, "shape": [lengths[name]], "data_offsets": [start, end]}
        start = end
    text = json.dumps(header).encode()
    text += b" " * (-len(text) % 8)
    file.write(len(text).to_bytes(8, "little") + text)
    for name, (dtype, _) in TENSORS.items():
        for array in arrays[name]():
            file.write(np.ascontiguousarray(array, dtype).tobytes())


def _names_in(index: ShardIndex) -> Iterable[str]:
    if index.texts is not None:
        return index.texts
    return map(str, np.unique(index.array("labels")).tolist())


def load_index(path: Path) -> ShardIndex:
    """The index at a path; training and evaluation split are often in one, so it is read once.

    Raises:
        UserError: damaged, or missing.
    """
    stat = path.stat()
    return _load_index(path, stat.st_mtime_ns, stat.st_size, stat.st_ino)


@lru_cache(maxsize=8)
def _load_index(path: Path, modified: int, size: int, inode: int) -> ShardIndex:
    return ShardIndex(path)
