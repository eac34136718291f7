"""What an official data set is: its archives, its counts, and the files that come out of it."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any


@dataclass(frozen=True)
class Archive:
    """A file as its authors publish it.

    Attributes:
        file: its name.
        inside: a path in it, by which an unpacked copy is known; "" where only the archive itself will do.
        md5: of the file, in hexadecimal; None where none is published.
    """

    file: str
    inside: str = ""
    md5: str | None = None


@dataclass(frozen=True)
class DataSpec:
    """A data set as its authors describe it.

    Attributes:
        name: that it has here.
        page: official page.
        archives: all that are needed.
        num_classes: number of classes.
        counts: images of each split.
        per_class: images of each class in a split, where all classes have as many.
    """

    name: str
    page: str
    archives: tuple[Archive, ...]
    num_classes: int
    counts: dict[str, int]
    per_class: dict[str, int]


@dataclass(frozen=True)
class File:
    """One file of the prepared directory.

    Attributes:
        split: that it belongs to; "" for what describes the data set.
        path: in the directory, with slashes.
        content: all of it.
        images: how many images it holds.
        labels: of these images; empty where they have no single label.
    """

    split: str
    path: str
    content: bytes
    images: int = 0
    labels: tuple[int, ...] = ()


@dataclass(frozen=True)
class Contents:
    """What comes out of the archives.

    Attributes:
        classes: names in the order of the labels.
        folders: class directories in the order of the labels; empty where the set has none.
        files: all files, once.
        made_with: libraries that the files depend on, with their versions, for the manifest.
    """

    classes: tuple[str, ...]
    folders: tuple[str, ...]
    files: Iterator[File]
    made_with: dict[str, str] = field(default_factory=dict)


@dataclass(frozen=True)
class Preparation:
    """How a data set is prepared.

    Attributes:
        spec: what it must be.
        read: takes the path of each archive or its unpacked copy, by the archive's name, and whether files may be
            missing.
        locate: for a set that is made from other things than archives: takes the source and whether things may be
            missing; gives the paths for `read` and what the manifest says of them.
        default_source: where the source is not named; None: it must be.
        default_destination: gives the directory to make where it is not named; None: it must be.
    """

    spec: DataSpec
    read: Callable[[dict[str, Path], bool], Contents]
    locate: Callable[[Path, bool], tuple[dict[str, Path], list[dict[str, Any]]]] | None = None
    default_source: Path | None = None
    default_destination: Callable[[], Path] | None = None
