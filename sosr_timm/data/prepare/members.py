"""The files in an archive or in its unpacked copy, one after the other, with nothing written anywhere."""

from __future__ import annotations

import io
import os
import tarfile
import zipfile
import zlib
from collections.abc import Callable, Iterator, Mapping
from pathlib import Path, PurePosixPath
from typing import BinaryIO

from sosr_timm.errors import UserError, one_line

DAMAGE = (OSError, EOFError, tarfile.TarError, zipfile.BadZipFile, zlib.error, NotImplementedError, ValueError)


def members(place: Path, wanted: Callable[[str], bool]) -> Iterator[tuple[str, bytes]]:
    """Name and content of each file that is wanted, in the order of the archive.

    Args:
        place: a tar (also compressed), a zip, any other single file, or a directory.
        wanted: says by its name whether a file is.

    Raises:
        UserError: the archive is damaged or cut off, or has a member whose path leads outside of it.
    """
    try:
        if place.is_dir():
            yield from _of_directory(place, wanted)
        elif zipfile.is_zipfile(place):
            yield from _of_zip(place, wanted)
        elif place.suffix == ".mat":
            if wanted(place.name):
                yield place.name, place.read_bytes()
        else:
            with open(place, "rb") as file:
                yield from of_tar(file, str(place), wanted)
    except DAMAGE as error:
        reason = one_line(error)
        raise UserError(f"{place} is damaged or cut off ({reason}); fetch it again") from None


def of_tar(file: BinaryIO, title: str, wanted: Callable[[str], bool]) -> Iterator[tuple[str, bytes]]:
    """The same for an open tar file, which `title` names in messages."""
    with tarfile.open(fileobj=file, mode="r:*") as archive:
        for info in archive:
            name = _checked_name(info.name, title)
            if not wanted(name) or info.isdir():
                continue
            if not info.isfile():
                raise UserError(f"{title}: '{name}' is a link or a device where a file should be")
            yield name, archive.extractfile(info).read()


def nested_tar(content: bytes, title: str) -> Iterator[tuple[str, bytes]]:
    """All files of a tar that lay in another one."""
    yield from of_tar(io.BytesIO(content), title, lambda name: True)


def _of_zip(place: Path, wanted: Callable[[str], bool]) -> Iterator[tuple[str, bytes]]:
    with zipfile.ZipFile(place) as archive:
        for info in archive.infolist():
            name = _checked_name(info.filename, str(place))
            if not info.is_dir() and wanted(name):
                yield name, archive.read(info)


def _of_directory(place: Path, wanted: Callable[[str], bool]) -> Iterator[tuple[str, bytes]]:
    for folder, below, files in os.walk(place):
        below.sort()
        for file in sorted(files):
            path = Path(folder, file)
            name = path.relative_to(place).as_posix()
            if wanted(name):
                yield name, path.read_bytes()


def _checked_name(name: str, title: str) -> str:
    parts = PurePosixPath(name).parts
    if name.startswith("/") or ".." in parts or "\\" in name:
        raise UserError(
            f"{title}: the member '{name}' would be outside of the directory; this is not an official archive"
        )
    return "/".join(parts)


def texts(place: Path, *names: str) -> list[str]:
    """Small text files of an archive, in the order of `names`.

    Raises:
        UserError: one is missing or no text.
    """
    try:
        return [content.decode("utf-8") for content in contents(place, *names)]
    except UnicodeDecodeError as error:
        raise UserError(f"{place}: {' or '.join(names)} is not text ({error})") from None


def contents(place: Path, *names: str) -> list[bytes]:
    """Files of an archive, in the order of `names`.

    Raises:
        UserError: one is missing.
    """
    found: dict[str, bytes] = {}
    for name, content in members(place, lambda name: name in names):
        found[name] = content
        if len(found) == len(names):
            break
    missing = [name for name in names if name not in found]
    if missing:
        raise UserError(f"{place} has no {missing[0]}; this is not the official archive, or not all of it")
    return [found[name] for name in names]


def images(place: Path, wanted: Mapping[str, object], part: bool) -> Iterator[tuple[str, bytes]]:
    """Files of an archive that a list of the data set names.

    Args:
        place: of the archive.
        wanted: names, and what the list says of each.
        part: let files be missing.

    Raises:
        UserError: one is missing or empty.
    """
    missing = dict.fromkeys(wanted)
    for name, content in members(place, lambda name: name in wanted):
        if not content:
            raise UserError(f"{place}: {name} is empty")
        missing.pop(name, None)
        yield name, content
    if missing and not part:
        raise UserError(f"{place} lacks {len(missing):,} of {len(wanted):,} images, {next(iter(missing))} first")
