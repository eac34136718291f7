"""The directory that a data set is prepared in: it has another name until it is complete and checked."""

from __future__ import annotations

import hashlib
import os
import shutil
from collections import Counter
from pathlib import Path, PurePosixPath
from typing import Any

from sosr_timm.data.prepare.manifest import EXTRA, FORMAT, NAME, list_text
from sosr_timm.data.prepare.spec import Contents, DataSpec, File
from sosr_timm.errors import UserError, reason_of
from sosr_timm.files import replacing, room, write_json
from sosr_timm.version import __version__


class NoRoom(UserError):
    """The disk took no more; what is written stays for the next attempt."""


class Store:
    """The files of a directory that is being prepared. Those of an interrupted preparation are used again.

    Args:
        destination: the directory to make.

    Attributes:
        files: SHA-256 of what was written, by split and path.
        images: of each split.
        labels: how often each label came, by split.
    """

    def __init__(self, destination: Path):
        self.destination = destination
        self.path = destination.with_name(f".{destination.name}.unfinished")
        self.files: dict[str, dict[str, str]] = {}
        self.images: Counter[str] = Counter()
        self.labels: dict[str, Counter[int]] = {}

    def write(self, file: File) -> None:
        """Write a file, or find it written already.

        Raises:
            UserError: a path outside the directory, or the same path twice.
            NoRoom: the disk is full or cannot be written to.
        """
        split = file.split or EXTRA
        parts = PurePosixPath(file.path).parts
        if file.path.startswith("/") or ".." in parts or "\\" in file.path:
            raise UserError(f"{self.destination}: a list of the data set names '{file.path}', outside of the directory")
        listed = self.files.setdefault(split, {})
        if file.path in listed:
            raise UserError(f"{self.destination}: '{file.path}' appears twice; this is not an official archive")
        path = self.path.joinpath(*parts)
        if not _holds(path, file.content):
            self._write(path, file.content)
        listed[file.path] = hashlib.sha256(file.content).hexdigest()
        self.images[split] += file.images
        self.labels.setdefault(split, Counter()).update(file.labels)

    def _write(self, path: Path, content: bytes) -> None:
        try:
            with replacing(path, sync=False) as temporary:  # `publish` syncs the disk once, after the last of them
                temporary.write_bytes(content)
        except OSError as error:
            raise self._no_room(error) from None

    def _no_room(self, error: OSError) -> NoRoom:
        return NoRoom(
            f"{self.destination} could not be written ({reason_of(error)}; {room(self.destination.parent)}); the same "
            f"command continues from what is in {self.path}"
        )

    def discard(self) -> None:
        """Take back what was written."""
        shutil.rmtree(self.path, ignore_errors=True)

    def publish(self, spec: DataSpec, contents: Contents, archives: list[dict[str, Any]], part: bool) -> None:
        """Check the counts, write lists and manifest, and give the directory its name.

        Raises:
            UserError: counts that are not the official ones.
            NoRoom: the disk is full or cannot be written to.
        """
        if not part:
            check_counts(spec, len(contents.classes), self.images, self.labels)
        try:
            splits = {split: self._write_list(split, len(contents.classes)) for split in sorted(self.files)}
            manifest = {
                "format": FORMAT,
                "name": spec.name,
                "subset": part,
                "version": __version__,
                "page": spec.page,
                "archives": archives,
                **({"made_with": contents.made_with} if contents.made_with else {}),
                "classes": contents.classes,
                "folders": contents.folders,
                "splits": splits,
            }
            self._drop_leftovers()
            write_json(self.path / NAME, manifest)
            os.sync()
            if self.destination.is_dir():
                self.destination.rmdir()
            os.replace(self.path, self.destination)
        except OSError as error:
            raise self._no_room(error) from None

    def _write_list(self, split: str, num_classes: int) -> dict[str, Any]:
        text = list_text(self.files[split])
        (self.path / f"{split}.sha256").write_bytes(text)
        labels = self.labels[split]
        return {
            "images": self.images[split],
            "per_class": [labels[label] for label in range(num_classes)] if labels else [],
            "list": f"{split}.sha256",
            "sha256": hashlib.sha256(text).hexdigest(),
        }

    def _drop_leftovers(self) -> None:
        """Remove the files of an earlier attempt with other archives."""
        known = {path for files in self.files.values() for path in files} | {f"{split}.sha256" for split in self.files}
        for folder, _, files in os.walk(self.path, topdown=False):
            for file in files:
                path = Path(folder, file)
                if path.relative_to(self.path).as_posix() not in known:
                    path.unlink()
            if not any(os.scandir(folder)):
                os.rmdir(folder)


def check_counts(spec: DataSpec, num_classes: int, images: Counter, labels: dict[str, Counter]) -> None:
    """See that there are as many classes, images and images of each class as officially.

    Raises:
        UserError: the first difference.
    """
    if num_classes != spec.num_classes:
        raise UserError(f"{spec.name} has {spec.num_classes} classes, {num_classes} were found")
    for split, count in spec.counts.items():
        each = spec.per_class.get(split)
        for label in range(num_classes if each else 0):
            if labels[split][label] != each:
                raise UserError(f"{spec.name}: {labels[split][label]} images of class {label} in {split}, not {each}")
        if images[split] != count:
            raise UserError(f"{spec.name}: {images[split]:,} images in {split}, not {count:,}")


def _holds(path: Path, content: bytes) -> bool:
    try:
        return path.stat().st_size == len(content) and path.read_bytes() == content
    except OSError:
        return False
