"""The samples of one tar shard by webdataset's conventions, found by reading its headers and its labels."""

from __future__ import annotations

import hashlib
import json
import os
import tarfile
import zlib
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np

from sosr_timm.errors import UserError, one_line

IMAGE_KEYS = "jpg;jpeg;png;webp"
LARGEST_LABEL = 1 << 24  # bytes of a .cls or .json member
LARGEST_IMAGE = (1 << 32) - 1  # bytes
BLOCK = 512
FAULTS = (tarfile.TarError, OSError, EOFError, ValueError, OverflowError)


@dataclass
class ShardSamples:
    """What is in a shard.

    Attributes:
        names: of the images in the tar.
        offsets: of their first bytes.
        sizes: in bytes.
        labels: numbers or text, as the shard has them.
        checksums: CRC-32 of each image; empty where none were asked for.
        digest: SHA-256 over name, place, size and time of every member.
        labels_digest: SHA-256 over the labels.
    """

    names: list[str] = field(default_factory=list)
    offsets: list[int] = field(default_factory=list)
    sizes: list[int] = field(default_factory=list)
    labels: list[str] = field(default_factory=list)
    checksums: list[int] = field(default_factory=list)
    digest: str = ""
    labels_digest: str = ""


class _Member(tarfile.TarInfo):
    """A member whose header cannot send the reader backwards, which Pythons without CVE-2025-8194's fix follow."""

    def _block(self, count: int) -> int:
        if count < 0:
            raise tarfile.ReadError("a negative size")  # tarfile takes its own InvalidHeaderError for the end
        return super()._block(count)


def read_members(path: Path) -> Iterator[tarfile.TarInfo]:
    """The members of a tar file in their order, checked for order, room and a proper end.

    Raises:
        UserError: it is truncated, damaged or compressed, with the file's name.
    """
    try:
        total = os.path.getsize(path)
        if not total:
            raise tarfile.ReadError("the file is empty")
        with tarfile.open(path, "r:", tarinfo=_Member) as file:
            last = -1
            while (member := file.next()) is not None:
                file.members = []  # tarfile keeps every member otherwise
                if member.offset_data <= last or member.size < 0 or member.offset_data + member.size > total:
                    raise tarfile.ReadError(f"'{member.name}' does not fit in the file, which is truncated or damaged")
                last = member.offset_data
                yield member
            _check_end(file, total)
    except FAULTS as error:
        raise UserError(f"shard {path}: {one_line(error)}") from None


def _check_end(file: tarfile.TarFile, total: int) -> None:
    """Raise where tarfile stopped at something else than the zeros that end a tar file."""
    file.fileobj.seek(file.offset)
    if file.offset + BLOCK > total:
        raise tarfile.ReadError("the file has no end mark, so it is truncated")
    position = file.offset
    while rest := file.fileobj.read(1 << 20):
        if rest.count(0) != len(rest):
            raise tarfile.ReadError(f"bytes that are no tar follow at offset {position:,}: damaged, or two tars in one")
        position += len(rest)


def digest_of_members(path: Path) -> str:
    """SHA-256 over name, place, size and time of every member: one pass over the headers.

    Raises:
        UserError: as in `read_members`.
    """
    digest = hashlib.sha256()
    for member in read_members(path):
        digest.update(_described(member))
    return digest.hexdigest()


def _described(member: tarfile.TarInfo) -> bytes:
    facts = f"{member.name}\0{member.offset_data}\0{member.size}\0{member.mtime}\n"
    return facts.encode("utf-8", "surrogateescape")


def split_name(name: str) -> tuple[str, str]:
    """webdataset's key and ending of a member: the path up to the first dot of the file name, and what follows it."""
    folder, slash, file = name.rpartition("/")
    stem, _, ending = file.partition(".")
    return f"{folder}{slash}{stem}", ending.lower()


def read_samples(path: Path, input_key: str, target_key: str | None, checksums: bool) -> ShardSamples:
    """The samples of a shard: members that follow each other and share a key.

    Args:
        path: of the shard.
        input_key: endings of the image, separated by semicolons; the first that a sample has counts.
        target_key: ending of the label: text or a number; "json/FIELD" takes a field of a JSON. Where None, `cls`, or
            the field `label` of `json` where there is no `cls`.
        checksums: compute the CRC-32 of each image, which reads the whole shard.

    Raises:
        UserError: a damaged file, a sample without image or label, a label that is none, or no sample at all.
    """
    endings = input_key.split(";")
    rules = [target_key] if target_key else ["cls", "json/label"]
    found, digest, labels = ShardSamples(), hashlib.sha256(), hashlib.sha256()
    key, parts = None, {}
    with open(path, "rb") as file:
        for member in read_members(path):
            digest.update(_described(member))
            base = member.name.rpartition("/")[2]
            if not member.isreg() or (base.startswith("__") and base.endswith("__")) or base.startswith("."):
                continue
            if member.sparse is not None:
                raise UserError(f"shard {path}: '{member.name}' is a sparse file, which cannot be read by position")
            now, ending = split_name(member.name)
            if now != key:
                if parts:
                    _add(found, path, file.fileno(), key, parts, endings, rules, checksums)
                key, parts = now, {}
            if ending in parts:
                raise UserError(f"shard {path}: two members are called '{member.name}'")
            parts[ending] = member
        if parts:
            _add(found, path, file.fileno(), key, parts, endings, rules, checksums)
    if not found.names:
        raise UserError(f"shard {path} holds no sample")
    for label in found.labels:
        labels.update(label.encode() + b"\0")
    found.digest, found.labels_digest = digest.hexdigest(), labels.hexdigest()
    return found


def _add(
    found: ShardSamples,
    path: Path,
    descriptor: int,
    key: str,
    parts: dict[str, tarfile.TarInfo],
    endings: list[str],
    rules: list[str],
    checksums: bool,
) -> None:
    image = next((parts[ending] for ending in endings if ending in parts), None)
    there = ", ".join(parts)
    if image is None:
        raise UserError(
            f"shard {path}: sample '{one_line(key, 80)}' has no image ({', '.join(endings)}) but {there}; "
            "--input-key names the ending"
        )
    rule = next((rule for rule in rules if rule.partition("/")[0] in parts), None)
    if rule is None:
        raise UserError(
            f"shard {path}: sample '{one_line(key, 80)}' has no label ({', '.join(rules)}) but {there}; "
            "--target-key names the ending"
        )
    if image.size > LARGEST_IMAGE:
        raise UserError(f"shard {path}: image '{image.name}' has {image.size:,} bytes; at most {LARGEST_IMAGE:,}")
    found.names.append(image.name)
    found.offsets.append(image.offset_data)
    found.sizes.append(image.size)
    found.labels.append(_label(path, descriptor, parts[rule.partition("/")[0]], rule))
    if checksums:
        found.checksums.append(zlib.crc32(os.pread(descriptor, image.size, image.offset_data)))


def _label(path: Path, descriptor: int, member: tarfile.TarInfo, rule: str) -> str:
    """A label as text; of a number its digits."""
    ending, _, name = rule.partition("/")
    where = f"shard {path}: label '{member.name}'"
    if member.size > LARGEST_LABEL:
        raise UserError(f"{where} has {member.size:,} bytes; at most {LARGEST_LABEL:,}")
    try:
        text = os.pread(descriptor, member.size, member.offset_data).decode("utf-8").strip()
        if ending == "json":
            value = json.loads(text)
            for step in (name or "label").split("/"):
                value = value[step]
            if isinstance(value, bool) or not isinstance(value, (int, str)):
                raise ValueError(f"field {name or 'label'} is {one_line(repr(value), 40)}, neither a number nor a name")
            text = str(value).strip()
    except (ValueError, KeyError, TypeError, RecursionError) as error:
        raise UserError(f"{where} cannot be read: {one_line(error)}") from None
    if not text or "\n" in text or len(text) > 1000:
        raise UserError(f"{where} is no class: {one_line(repr(text), 60)}")
    return text


def as_numbers(labels: list[str]) -> np.ndarray | None:
    """(N,) int32 of labels that are all class numbers; None where one is a name.

    A sign or a decimal point makes no class number, so such a label counts as a name.
    """
    if not all(label.isascii() and label.isdigit() and len(label) <= 9 for label in labels):
        return None
    return np.array([int(label) for label in labels], dtype=np.int32)
