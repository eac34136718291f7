"""Prepare a data set: find the archives, check them, lay their files out, check what came of it."""

from __future__ import annotations

from functools import partial
from pathlib import Path
from typing import Any

from tqdm import tqdm

from sosr_timm.data.prepare.manifest import check_listing, read_manifest
from sosr_timm.data.prepare.sources import describe_archives, find_archives
from sosr_timm.data.prepare.spec import DataSpec, Preparation
from sosr_timm.data.prepare.store import NoRoom, Store
from sosr_timm.errors import UserError, reason_of


def prepare(preparation: Preparation, source: Path, destination: Path, allow_subset: bool = False) -> str:
    """Make a prepared directory; a complete one is not changed.

    Args:
        preparation: of the data set.
        source: an archive, a directory that holds the archives, or an unpacked copy; of `glyphs`, the root of a Debian
            system.
        destination: the directory to make.
        allow_subset: take archives that are not the official ones and counts that are not either; the directory, and
            the record of every run on it, then says that it is a part.

    Returns:
        a line that says what was done.

    Raises:
        UserError: missing or damaged archives, counts that are not the official ones, no room, or another data set in
            the way.
    """
    spec = preparation.spec
    done = _prepared_before(destination, spec.name)
    if done:
        return done
    locate = preparation.locate or partial(_locate_archives, spec)
    places, archives = locate(source, allow_subset)
    store = Store(destination)
    try:
        contents = preparation.read(places, allow_subset)
        for file in tqdm(contents.files, desc=spec.name, unit="file", leave=False, disable=None):
            store.write(file)
        store.publish(spec, contents, archives, allow_subset)
    except NoRoom:
        raise
    except UserError:
        store.discard()
        raise
    counts = ", ".join(f"{count:,} in {split}" for split, count in store.images.items() if count)
    return f"{destination}: {spec.name}, {len(contents.classes):,} classes, images: {counts}" + (
        " (a part, not the official set)" if allow_subset else ""
    )


def _locate_archives(spec: DataSpec, source: Path, allow_subset: bool) -> tuple[dict[str, Path], list[dict[str, Any]]]:
    places = find_archives(spec, source)
    return places, describe_archives(spec, places, allow_subset)


def _prepared_before(destination: Path, name: str) -> str:
    """A line where the destination is the data set already; "" where there is room for it."""
    manifest = read_manifest(destination)
    if manifest is not None and manifest.name == name:
        for split in manifest.splits:
            check_listing(manifest, split)
        return f"{destination}: {name} was prepared before and all its files are there"
    if manifest is not None:
        raise UserError(f"{destination} holds {manifest.name}; name another directory for {name}")
    try:
        if destination.exists() and (not destination.is_dir() or any(destination.iterdir())):
            raise UserError(f"{destination} exists already: name a directory that is empty or does not exist")
    except OSError as error:
        raise UserError(f"{destination} cannot be read ({reason_of(error)})") from None
    return ""
