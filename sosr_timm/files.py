"""Files that are replaced in one step: a crash or a full disk leaves the old file or the new one, never half of one.

And what to say where there is no room for them.
"""

from __future__ import annotations

import json
import os
import shutil
import stat
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Any

from sosr_timm.errors import UserError, reason_of


@contextmanager
def replacing(path: str | os.PathLike, sync: bool = True) -> Iterator[Path]:
    """A path to write to, which takes the place of `path` when the block ends well and is removed otherwise.

    Args:
        path: of the file; missing folders are made.
        sync: let the new file reach the disk before it gets its name. Without it a crash of the machine may leave an
            empty file: for many small files that are synced together.
    """
    path = Path(path)
    path.parent.mkdir(parents=True, exist_ok=True)
    temporary = path.with_name(f".{path.name}.{os.getpid()}.tmp")
    try:
        yield temporary
        if sync:
            reach_disk(temporary)
        os.replace(temporary, path)
    finally:
        # Where the disk has become read-only this fails as well: the first error is the one to see.
        with suppress(OSError):
            temporary.unlink(missing_ok=True)
    if sync:
        reach_disk(path.parent)  # the rename itself


def write_text(path: str | os.PathLike, text: str) -> None:
    """Write a text file in one step."""
    with replacing(path) as temporary:
        temporary.write_text(text, encoding="utf-8")


def write_json(path: str | os.PathLike, content: Any) -> None:
    """Write strict JSON in one step.

    Raises:
        ValueError: a number is not finite.
    """
    write_text(path, json.dumps(content, indent=2, allow_nan=False) + "\n")


def set_default_mode(path: str | os.PathLike) -> None:
    """Give a file the permissions that any new file of its folder has; safetensors lets only the owner read its own."""
    path = Path(path)
    probe = path.with_name(f".{path.name}.{os.getpid()}.mode")
    try:
        with open(probe, "wb") as file:
            mode = stat.S_IMODE(os.fstat(file.fileno()).st_mode)
        os.chmod(path, mode)
    finally:
        with suppress(OSError):
            probe.unlink(missing_ok=True)


@contextmanager
def must_write(what: str | os.PathLike, advice: str = "") -> Iterator[None]:
    """Turn an error of the file system inside the block into a line for the user.

    Args:
        what: cannot be written: a path, or an option with its value.
        advice: what to do, for the end of the line.

    Raises:
        UserError: where writing failed.
    """
    try:
        yield
    except OSError as error:
        raise UserError(f"{os.fspath(what)} cannot be written ({reason_of(error)}){advice}") from None


def room(path: str | os.PathLike) -> str:
    """How much fits on the disk of a path, in words."""
    try:
        free, inodes = shutil.disk_usage(path).free, _free_inodes(path)
    except OSError:
        return "nothing is known of the room on its disk"
    text = f"{free / 1e6:,.1f} MB are free"
    return f"{text}, but the disk holds no further files: no inode is free" if inodes == 0 else text


def _free_inodes(path: str | os.PathLike) -> int | None:
    """Inodes left for this user; None on file systems that do not count them."""
    if not hasattr(os, "statvfs"):
        return None
    disk = os.statvfs(path)
    return disk.f_favail if disk.f_files else None


def reach_disk(path: str | os.PathLike) -> None:
    """Return when a file, or a folder's list of names, is on the disk."""
    if os.name != "posix" and Path(path).is_dir():
        return  # only POSIX can open a folder
    descriptor = os.open(path, os.O_RDONLY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)


def shortest(path: Path) -> str:
    """A path as short as it can be written from the current directory."""
    try:
        return str(path.resolve().relative_to(Path.cwd()))
    except ValueError:
        return str(path)
