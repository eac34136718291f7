"""CIFAR-10 and CIFAR-100 (Krizhevsky 2009) from their binary archives; the ones for Python hold pickles."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from sosr_timm.data.prepare.members import contents, texts
from sosr_timm.data.prepare.spec import Archive, Contents, DataSpec, File, Preparation
from sosr_timm.errors import UserError

PAGE = "https://www.cs.toronto.edu/~kriz/cifar.html"
PIXELS = 3 * 32 * 32


@dataclass(frozen=True)
class Layout:
    """How the binary files of one of the two sets look.

    Attributes:
        folder: directory in the archive.
        names: file of the class names, a line each.
        parts: files of each split.
        label_bytes: before the pixels of each image; the last of them is the label.
    """

    folder: str
    names: str
    parts: dict[str, tuple[str, ...]]
    label_bytes: int


TEN = Layout(
    "cifar-10-batches-bin",
    "batches.meta.txt",
    {"train": tuple(f"data_batch_{number}.bin" for number in range(1, 6)), "test": ("test_batch.bin",)},
    1,
)
# The first of the two labels is one of 20 groups of classes.
HUNDRED = Layout("cifar-100-binary", "fine_label_names.txt", {"train": ("train.bin",), "test": ("test.bin",)}, 2)

CIFAR10 = DataSpec(
    name="cifar10",
    page=PAGE,
    archives=(Archive("cifar-10-binary.tar.gz", f"{TEN.folder}/{TEN.names}", "c32a1d4ab5d03f1284b67883e8d87530"),),
    num_classes=10,
    counts={"train": 50_000, "test": 10_000},
    per_class={"train": 5_000, "test": 1_000},
)
CIFAR100 = DataSpec(
    name="cifar100",
    page=PAGE,
    archives=(
        Archive("cifar-100-binary.tar.gz", f"{HUNDRED.folder}/{HUNDRED.names}", "03b5dce01913d631647c71ecec9e9cb8"),
    ),
    num_classes=100,
    counts={"train": 50_000, "test": 10_000},
    per_class={"train": 500, "test": 100},
)


def decode(content: bytes, layout: Layout, num_classes: int, title: str) -> tuple[np.ndarray, np.ndarray]:
    """The images (N, 32, 32, 3) uint8 and labels (N,) int64 of a binary file.

    Raises:
        UserError: incomplete records, or a label that is not a class.
    """
    record = layout.label_bytes + PIXELS
    if not content or len(content) % record:
        raise UserError(f"{title}: {len(content):,} bytes are not a multiple of the {record:,} bytes of an image")
    rows = np.frombuffer(content, np.uint8).reshape(-1, record)
    labels = rows[:, layout.label_bytes - 1].astype(np.int64)
    if labels.max() >= num_classes:
        raise UserError(f"{title}: image {labels.argmax()} has the label {labels.max()}, of {num_classes} classes")
    planes = rows[:, layout.label_bytes :].reshape(-1, 3, 32, 32)
    return np.ascontiguousarray(planes.transpose(0, 2, 3, 1)), labels


def class_names(text: str) -> tuple[str, ...]:
    """The lines that are not empty."""
    return tuple(line.strip() for line in text.splitlines() if line.strip())


def _read(spec: DataSpec, layout: Layout, place: Path) -> Contents:
    (names,) = texts(place, f"{layout.folder}/{layout.names}")
    classes = class_names(names)
    return Contents(classes, (), _files(place, layout, names, len(classes)))


def _files(place: Path, layout: Layout, names: str, num_classes: int) -> Iterator[File]:
    yield File("", layout.names, names.encode())
    for split, files in layout.parts.items():
        wanted = [f"{layout.folder}/{file}" for file in files]
        for file, content in zip(files, contents(place, *wanted), strict=True):
            labels = decode(content, layout, num_classes, f"{place}, {file}")[1]
            yield File(split, file, content, len(labels), tuple(labels.tolist()))


CIFAR10_PREPARATION = Preparation(CIFAR10, lambda places, part: _read(CIFAR10, TEN, places[CIFAR10.archives[0].file]))
CIFAR100_PREPARATION = Preparation(
    CIFAR100, lambda places, part: _read(CIFAR100, HUNDRED, places[CIFAR100.archives[0].file])
)
