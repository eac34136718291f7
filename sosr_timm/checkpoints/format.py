"""A checkpoint is a folder of safetensors and JSON; it is written completely or not at all, and damage is detected."""

from __future__ import annotations

import hashlib
import json
import os
import shutil
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from safetensors import SafetensorError
from safetensors.torch import load_file
from torch import Tensor

from sosr_timm.checkpoints.serialization import join, save_tensors, split, storable
from sosr_timm.errors import UserError, one_line
from sosr_timm.files import reach_disk

FORMAT = 1
MANIFEST = "manifest.json"
MODEL, EMA = "model.safetensors", "ema.safetensors"


class DamagedCheckpoint(Exception):
    """A checkpoint with a file that is missing or not as it was written: which file, and what is wrong with it."""


@dataclass(frozen=True)
class Position:
    """Where in a run a checkpoint was taken; the order of positions is the order of time.

    Attributes:
        epoch: completed epochs.
        update: updates done in the epoch after them.
    """

    epoch: int
    update: int

    @property
    def folder_name(self) -> str:
        return f"epoch{self.epoch:05d}-update{self.update:07d}"


def even_epochs(count: int, epochs: int) -> list[int]:
    """The epochs of `count` checkpoints spread evenly over a run, the last epoch among them; fewer in a shorter run.

    Args:
        count: how many.
        epochs: of the run; epoch e is the state after e epochs, so 1 to `epochs`.
    """
    return sorted({max(1, round(epochs * number / count)) for number in range(1, count + 1)})


def write_part(folder: Path, name: str, state: Any) -> None:
    """Store a nested state as NAME.json and, where it has tensors, NAME.safetensors; both reach the disk."""
    content, tensors = split(state)
    if tensors:
        path = folder / f"{name}.safetensors"
        save_tensors(path, storable(tensors))
        reach_disk(path)
    path = folder / f"{name}.json"
    with open(path, "w", encoding="utf-8") as file:
        json.dump(content, file, indent=1)
        file.flush()
        os.fsync(file.fileno())


def read_part(folder: Path, name: str) -> Any:
    """What `write_part` stored.

    Raises:
        DamagedCheckpoint: a file is missing or not readable.
    """
    tensors: dict[str, Tensor] = {}
    try:
        content = json.loads((folder / f"{name}.json").read_text(encoding="utf-8"))
        path = folder / f"{name}.safetensors"
        if path.exists():
            tensors = load_file(str(path))
        return join(content, tensors)
    except (OSError, ValueError, KeyError, TypeError, RecursionError, SafetensorError) as error:
        raise DamagedCheckpoint(f"{folder}: {name} cannot be read ({one_line(error)})") from None


def progress_of(folder: Path) -> dict[str, Any]:
    """How far the run was at a complete checkpoint: `epoch`, `update`, `best`, ...; empty where it does not say."""
    with suppress(OSError, ValueError, AttributeError):
        return json.loads((folder / "run.json").read_text(encoding="utf-8")).get("progress") or {}
    return {}


def write_manifest(folder: Path, about: dict[str, Any]) -> None:
    """Write the manifest, the last file of a checkpoint: the hash of every other file, and one of itself."""
    files = {path.name: _digest(path) for path in sorted(folder.iterdir()) if path.name != MANIFEST}
    path = folder / MANIFEST
    path.write_text(_sealed({"format": FORMAT, **about, "files": files}), encoding="utf-8")
    reach_disk(path)


def read_manifest(folder: Path) -> dict[str, Any]:
    """The manifest of a checkpoint whose files match their hashes.

    Raises:
        DamagedCheckpoint: no manifest, a missing or changed file, or another format.
    """
    try:
        text = (folder / MANIFEST).read_text(encoding="utf-8")
        content = json.loads(text)
        files, _ = content["files"], content.pop("seal")
    except FileNotFoundError:
        raise DamagedCheckpoint(f"{folder}: no {MANIFEST}; not a complete checkpoint") from None
    except (OSError, ValueError, KeyError, TypeError, AttributeError, RecursionError) as error:
        raise DamagedCheckpoint(f"{folder}: {MANIFEST} cannot be read ({one_line(error)})") from None
    if content.get("format") != FORMAT:
        raise DamagedCheckpoint(f"{folder}: format {content.get('format')!r}, this version reads {FORMAT}")
    if text != _sealed(content):
        raise DamagedCheckpoint(f"{folder}: {MANIFEST} was changed after it was written")
    for name, digest in files.items():
        path = folder / name
        if not path.is_file():
            raise DamagedCheckpoint(f"{folder}: {name} is missing")
        if _digest(path) != digest:
            raise DamagedCheckpoint(f"{folder}: {name} is not what was written (its hash differs)")
    return content


def _sealed(content: dict[str, Any]) -> str:
    """The manifest's text: its content and a hash of it."""
    seal = hashlib.sha256(json.dumps(content, sort_keys=True).encode()).hexdigest()
    return json.dumps({**content, "seal": seal}, indent=1) + "\n"


def _digest(path: Path) -> str:
    with open(path, "rb") as file:
        return (
            hashlib.file_digest(file, "sha256").hexdigest() if hasattr(hashlib, "file_digest") else _slow_digest(file)
        )


def _slow_digest(file: Any) -> str:
    """Python 3.10 has no hashlib.file_digest."""
    digest = hashlib.sha256()
    while block := file.read(1 << 20):
        digest.update(block)
    return digest.hexdigest()


def finalize(temporary: Path, final: Path) -> None:
    """Give a complete checkpoint its final name; only then an older one of that name is removed."""
    for path in temporary.iterdir():
        reach_disk(path)
    reach_disk(temporary)
    if final.exists():
        doomed = final.with_name(f".old-{final.name}")
        shutil.rmtree(doomed, ignore_errors=True)
        os.replace(final, doomed)
        os.replace(temporary, final)
        shutil.rmtree(doomed, ignore_errors=True)
    else:
        os.replace(temporary, final)
    reach_disk(final.parent)


def point(link: Path, target: Path) -> None:
    """Point `link` at a sibling folder in one step: at every moment it leads to the old target or to the new one."""
    temporary = link.with_name(f".{link.name}-{os.getpid()}")
    temporary.unlink(missing_ok=True)
    temporary.symlink_to(target.name)
    os.replace(temporary, link)


def checkpoint_folders(folder: Path) -> list[Path]:
    """Every checkpoint below `folder`, the latest first, complete or not."""
    if not folder.is_dir():
        return []
    paths = [path for path in folder.glob("epoch*-update*") if path.is_dir() and not path.is_symlink()]
    return sorted(paths, key=lambda path: path.name, reverse=True)


def is_epoch_end(folder: Path) -> bool:
    """Whether a checkpoint was taken at the end of an epoch, not within one."""
    return folder.name.endswith(Position(0, 0).folder_name.removeprefix("epoch00000"))


def latest_complete(folder: Path) -> tuple[Path | None, list[str]]:
    """The latest complete checkpoint below `folder`, and what is wrong with the later ones."""
    damaged = []
    for path in checkpoint_folders(folder):
        try:
            read_manifest(path)
            return path, damaged
        except DamagedCheckpoint as error:
            damaged.append(str(error))
    return None, damaged


def read_manifest_or_raise(folder: Path) -> dict[str, Any]:
    """`read_manifest` for a checkpoint that the user named.

    Raises:
        UserError: it is damaged.
    """
    try:
        return read_manifest(folder)
    except DamagedCheckpoint as error:
        raise UserError(f"damaged checkpoint: {error}") from None
