"""`sosr-data pack`: class directories into indexed tar shards, with smaller images where that is asked for."""

from __future__ import annotations

import hashlib
import io
import json
import os
import shutil
import tarfile
from collections.abc import Iterator
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import numpy as np
from PIL import Image
from tqdm import tqdm

from sosr_timm.data.prepare.index_shards import index_shards, processes
from sosr_timm.data.sources.class_folders import open_class_folders
from sosr_timm.data.sources.names import have_splits
from sosr_timm.data.sources.shards import CLASSES_FILE
from sosr_timm.data.sources.source import ImageSource
from sosr_timm.errors import UserError, one_line, reason_of
from sosr_timm.files import replacing, room, write_json, write_text
from sosr_timm.text import counted

PLAN = "plan.json"
MODIFIED = 1_700_000_000  # time of every member: the same images make the same bytes
SMALLEST_SIDE = 8
MOST_PIXELS = 1 << 28  # of an image that is made smaller
JPEG_MODES = ("L", "RGB", "CMYK")


@dataclass(frozen=True)
class Packing:
    """How images are packed.

    Attributes:
        max_side: the longer side of larger images becomes this many pixels; None: files are copied as they are.
        quality: of the JPEG files that smaller images become.
        per_shard: images of a shard.
        shuffle: seed of the order in which images are written; None: the order of the class directories.
    """

    max_side: int | None = None
    quality: int = 90
    per_shard: int = 4096
    shuffle: int | None = None

    def check(self) -> None:
        """Refuse numbers that make no images or no shards.

        Raises:
            UserError: with the flag.
        """
        if self.max_side is not None and self.max_side < SMALLEST_SIDE:
            raise UserError(f"--max-side {self.max_side}: at least {SMALLEST_SIDE}")
        if not 1 <= self.quality <= 100:
            raise UserError(f"--quality {self.quality}: from 1 to 100")
        if self.per_shard < 1:
            raise UserError(f"--per-shard {self.per_shard}: at least 1")
        if self.shuffle is not None and self.shuffle < 0:
            raise UserError(f"--shuffle {self.shuffle}: a seed, at least 0")


@dataclass
class Counts:
    """What became of images: their number, those that were made smaller, and the bytes before and after."""

    images: int = 0
    smaller: int = 0
    before: int = 0
    after: int = 0

    def add(self, other: Counts) -> None:
        for name, value in asdict(other).items():
            setattr(self, name, getattr(self, name) + value)


def pack(folder: Path, destination: Path, packing: Packing, workers: int = 1) -> str:
    """Pack the class directories of a directory, or of each split in it, and index the shards.

    Finished shards of an interrupted command are kept. The order of the images, and so the training, is that of the
    class directories unless they are shuffled.

    Args:
        folder: with CLASS/1.jpg, or SPLIT/CLASS/1.jpg.
        destination: directory to make.
        packing: how.
        workers: processes that pack.

    Returns:
        a line with the bytes before and after.

    Raises:
        UserError: no class directories, an image that cannot be read, a full disk, or another packing there.
    """
    if not folder.is_dir():
        raise UserError(f"{folder} is no directory")
    packing.check()
    below = sorted(path for path in folder.iterdir() if path.is_dir() and not path.name.startswith("."))
    splits = below if have_splits(path.name for path in below) else [folder]
    total = Counts()
    for split in splits:
        total.add(
            _pack_split(split, destination / split.name if split is not folder else destination, packing, workers)
        )
    percent = f", {100 * total.after / max(1, total.before):.0f} %"
    changed = ""
    if packing.max_side:
        changed = f"; {counted(total.smaller, 'image')} made smaller, whether as accurate is for you to judge"
    return (
        f"{destination}: {counted(total.images, 'image')}, {total.before:,} bytes before, {total.after:,} after"
        f"{percent}{changed}"
    )


def _pack_split(folder: Path, destination: Path, packing: Packing, workers: int) -> Counts:
    source = open_class_folders(folder)
    if source.info.class_names is None:
        raise UserError(f"{folder} has no class directories")
    order = np.arange(len(source))
    if packing.shuffle is not None:
        order = np.random.default_rng(packing.shuffle).permutation(len(source))
    plan = {**asdict(packing), "images": len(source), "names_sha256": _names(source)}
    parts = [order[start : start + packing.per_shard] for start in range(0, len(order), packing.per_shard)]
    unfinished = destination / ".unfinished"
    try:
        destination.mkdir(parents=True, exist_ok=True)
        done = _continue(destination, unfinished, plan)
        shards = [destination / f"{number:06d}.tar" for number in range(len(parts))]
        if done is not None:
            gone = next((shard for shard in shards if not shard.is_file()), None)
            if gone is not None:
                raise UserError(f"shard {gone} was packed and is missing; remove {destination} and pack again")
            return done
        total = Counts()
        tasks = [
            (source, part, shard, unfinished / f"{shard.stem}.json", packing)
            for shard, part in zip(shards, parts, strict=True)
        ]
        with tqdm(total=len(source), desc=str(folder), unit="image", leave=False, disable=None) as bar:
            for found in _run(tasks, workers):
                total.add(found)
                bar.update(found.images)
        write_text(destination / CLASSES_FILE, "\n".join(source.info.class_names) + "\n")
        index_shards([str(destination)], checksums=True, workers=workers)
        write_json(destination / PLAN, {**plan, "counts": asdict(total)})
    except OSError as error:
        raise UserError(
            f"{destination} cannot be written ({reason_of(error)}; {room(destination.parent)}); the same command "
            "continues"
        ) from None
    shutil.rmtree(unfinished, ignore_errors=True)
    return total


def _continue(destination: Path, unfinished: Path, plan: dict[str, Any]) -> Counts | None:
    """What a finished packing counted; None where one has to be begun or continued.

    Raises:
        UserError: what is there was packed from other images or in another way.
    """
    for path, finished in ((destination / PLAN, True), (unfinished / PLAN, False)):
        if not path.is_file():
            continue
        try:
            stored = json.loads(path.read_text())
            counts = Counts(**stored.pop("counts", {}))
        except (OSError, ValueError, TypeError, AttributeError) as error:
            raise UserError(f"{path} is damaged ({one_line(error)}); remove {destination}") from None
        different = [name for name in plan if stored.get(name) != plan[name]]
        if different:
            raise UserError(
                f"{destination} was packed with other {', '.join(different)} "
                f"({stored.get(different[0])} then, {plan[different[0]]} now); remove it or name another directory"
            )
        return counts if finished else None
    there = next((path for path in destination.iterdir() if path != unfinished), None)
    if there is not None:
        raise UserError(f"{destination} holds other files ({there.name}); name a new directory")
    unfinished.mkdir(exist_ok=True)
    write_json(unfinished / PLAN, plan)
    return None


def _names(source: ImageSource) -> str:
    digest = hashlib.sha256()
    for index in range(len(source)):
        digest.update(source.key(index).encode("utf-8", "surrogateescape") + b"\0")
    return digest.hexdigest()


def _run(tasks: list[tuple], workers: int) -> Iterator[Counts]:
    if workers < 2 or len(tasks) < 2:
        yield from map(_pack_shard, tasks)
        return
    with processes(min(workers, len(tasks))) as pool:
        yield from pool.imap_unordered(_pack_shard, tasks)


def _pack_shard(task: tuple[ImageSource, np.ndarray, Path, Path, Packing]) -> Counts:
    """Write a shard, or find it written."""
    source, part, path, note, packing = task
    if path.is_file() and note.is_file():
        return Counts(**json.loads(note.read_text()))
    found, keys = Counts(), set()
    labels = source.read_labels()
    with replacing(path) as temporary, tarfile.open(temporary, "w", format=tarfile.PAX_FORMAT) as tar:
        for index in part.tolist():
            file = Path(source.name(index))
            content, ending, smaller = packed_image(file, packing)
            key = _key(source.key(index), keys)
            _add(tar, f"{key}.{ending}", content)
            _add(tar, f"{key}.cls", str(int(labels[index])).encode())
            found.add(Counts(1, int(smaller), file.stat().st_size, len(content)))
    write_json(note, asdict(found))
    return found


def _key(name: str, used: set[str]) -> str:
    """webdataset's key: the path without ending. A key ends at the first dot of the file name, so there is no other."""
    key = os.path.splitext(name)[0]
    folder, slash, file = key.rpartition("/")
    key = f"{folder}{slash}{file.replace('.', '_')}"
    number, free = 1, key
    while free in used:
        number += 1
        free = f"{key}-{number}"
    used.add(free)
    return free


def _add(tar: tarfile.TarFile, name: str, content: bytes) -> None:
    member = tarfile.TarInfo(name)
    member.size, member.mtime, member.mode = len(content), MODIFIED, 0o644
    tar.addfile(member, io.BytesIO(content))


def packed_image(file: Path, packing: Packing) -> tuple[bytes, str, bool]:
    """The bytes of an image in a shard, the ending of its file name, and whether it was made smaller.

    An image that is larger than asked for is decoded, resized with antialiasing (bicubic) and encoded as JPEG, or as
    PNG where it has transparency. It is not turned by its EXIF data, which timm's readers pass over as well. Every
    other file, and one of more than 8 bits a channel, is copied byte for byte.

    Raises:
        UserError: it cannot be read, or has too many pixels.
    """
    try:
        content = file.read_bytes()
    except OSError as error:
        raise UserError(f"image {file} cannot be packed: {reason_of(error)}") from None
    ending = file.suffix.removeprefix(".")
    if packing.max_side is None:
        return content, ending, False
    try:
        with Image.open(io.BytesIO(content)) as image:
            if image.width * image.height > MOST_PIXELS:
                raise ValueError(f"{image.width:,} x {image.height:,} pixels; at most {MOST_PIXELS:,} in all")
            if max(image.size) <= packing.max_side or image.mode.startswith(("I", "F")):
                return content, ending, False
            image.load()
            profile = image.info.get("icc_profile")
            scale = packing.max_side / max(image.size)
            size = tuple(max(1, round(side * scale)) for side in image.size)
            if image.mode not in JPEG_MODES:
                lossless = "A" in image.mode or "transparency" in image.info
                image = image.convert("RGBA" if lossless else "RGB")
            smaller = image.resize(size, Image.Resampling.BICUBIC)
    except (OSError, ValueError, SyntaxError, Image.DecompressionBombError) as error:
        raise UserError(f"image {file} cannot be packed: {one_line(error)}") from None
    buffer = io.BytesIO()
    if smaller.mode == "RGBA":
        smaller.save(buffer, "PNG", optimize=True)
        return buffer.getvalue(), "png", True
    smaller.save(buffer, "JPEG", quality=packing.quality, icc_profile=profile)
    return buffer.getvalue(), "jpg", True
