"""The manifest of a prepared directory: its contents, with a hash of every file."""

from __future__ import annotations

import hashlib
import json
import os
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from tqdm import tqdm

from sosr_timm.errors import UserError, one_line, reason_of

NAME = "manifest.json"
FORMAT = 1
EXTRA = "set"  # name of the list of files that belong to no split
SURPLUS = "does not belong to the data set"


@dataclass(frozen=True)
class Manifest:
    """What manifest.json holds.

    Attributes:
        root: the directory.
        name: of the data set.
        subset: it is only a part of the official set.
        classes: in the order of the labels.
        folders: class directories in the order of the labels; empty where there are none.
        splits: by name: `images`, `per_class`, and `list`, the file that lists its files, with its `sha256`.
        digest: SHA-256 of manifest.json, in hexadecimal.
    """

    root: Path
    name: str
    subset: bool
    classes: tuple[str, ...]
    folders: tuple[str, ...]
    splits: dict[str, dict[str, Any]]
    digest: str

    def origin(self) -> dict[str, Any]:
        """What a run's record says of the data set."""
        return {"name": self.name, "subset": self.subset, "manifest_sha256": self.digest}


def read_manifest(root: Path) -> Manifest | None:
    """The manifest of a directory; None where it has none.

    Raises:
        UserError: it is damaged or of another format.
    """
    path = root / NAME
    try:
        text = path.read_bytes()
    except FileNotFoundError:
        return None
    except OSError as error:
        raise UserError(f"{path} cannot be read ({reason_of(error)})") from None
    try:
        content = json.loads(text)
        if content["format"] != FORMAT:
            raise ValueError(f"format {content['format']}, this version reads {FORMAT}")
        return Manifest(
            root=root,
            name=content["name"],
            subset=content["subset"],
            classes=tuple(content["classes"]),
            folders=tuple(content["folders"]),
            splits=content["splits"],
            digest=hashlib.sha256(text).hexdigest(),
        )
    except (ValueError, KeyError, TypeError) as error:
        why = f"no {error}" if isinstance(error, KeyError) else one_line(error)
        raise UserError(f"{path} is not the manifest of a prepared data set ({why})") from None


def list_text(files: dict[str, str]) -> bytes:
    """The list of a split's files in the form of sha256sum, so that `sha256sum -c` reads it too.

    Args:
        files: hexadecimal SHA-256 by path.
    """
    return "".join(f"{files[path]}  {path}\n" for path in sorted(files)).encode()


def read_list(manifest: Manifest, split: str) -> dict[str, str]:
    """Hexadecimal SHA-256 of each file of a split, by path.

    Raises:
        UserError: the list is missing or not the one that the manifest was written with.
    """
    entry = manifest.splits[split]
    path = manifest.root / entry["list"]
    try:
        text = path.read_bytes()
    except OSError as error:
        raise UserError(f"{path} cannot be read ({reason_of(error)})") from None
    if hashlib.sha256(text).hexdigest() != entry["sha256"]:
        raise UserError(f"{path} was changed since {manifest.root} was prepared")
    lines = (line.split("  ", 1) for line in text.decode().splitlines())
    return {path: digest for digest, path in lines}


def compare_listing(manifest: Manifest, split: str) -> tuple[set[str], set[str]]:
    """The files of a split that are missing, and those in its class directories that its list does not name.

    Reads no image.

    Returns:
        two sets of paths below the manifest's directory.
    """
    listed = set(read_list(manifest, split))
    if manifest.folders and split != EXTRA:
        below = manifest.root / split
        present = {
            os.path.join(folder, file)[len(str(manifest.root)) + 1 :].replace(os.sep, "/")
            for folder, _, files in os.walk(below)
            for file in files
        }
    else:
        present = {path for path in listed if (manifest.root / path).is_file()}
    return listed - present, present - listed


def check_listing(manifest: Manifest, split: str) -> None:
    """See that a split has the files that its list names and, in its class directories, no others; reads no image.

    Raises:
        UserError: the first file that is missing or one too many.
    """
    missing, surplus = compare_listing(manifest, split)
    advice = f"prepare {manifest.name} again, or see all with: sosr-data check {manifest.root}"
    for wrong, words in ((missing, "is missing"), (surplus, SURPLUS)):
        if wrong:
            raise UserError(f"{manifest.root / min(wrong)} {words} ({len(wrong):,} such files in {split}); {advice}")


def check_folder(root: Path) -> list[str]:
    """Every file against its hash.

    Returns:
        a line for each file that is wrong, in the order of the lists; empty for a complete directory.

    Raises:
        UserError: no manifest, or one that is damaged.
    """
    manifest = read_manifest(root)
    if manifest is None:
        raise UserError(f"{root} is not a prepared data set (it has no {NAME})")
    wrong: list[str] = []
    for split in manifest.splits:
        listed = read_list(manifest, split)
        for path, digest in tqdm(listed.items(), desc=split, unit="file", leave=False, disable=None):
            try:
                found = hashlib.sha256((root / path).read_bytes()).hexdigest()
            except FileNotFoundError:
                wrong.append(f"{path} is missing")
            except OSError as error:
                wrong.append(f"{path} cannot be read ({reason_of(error)})")
            else:
                if found != digest:
                    wrong.append(f"{path} was changed (SHA-256 {found}, prepared {digest})")
        if manifest.folders and split != EXTRA:
            _, surplus = compare_listing(manifest, split)
            wrong += [f"{path} {SURPLUS}" for path in sorted(surplus)]
    return wrong
