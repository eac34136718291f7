"""Where the archives of a data set lie, and whether they are the official ones."""

from __future__ import annotations

import hashlib
from pathlib import Path
from typing import Any

from tqdm import tqdm

from sosr_timm.data.prepare.spec import Archive, DataSpec
from sosr_timm.errors import UserError, reason_of
from sosr_timm.registry import close_names


def how_to_get(spec: DataSpec) -> str:
    """Half a sentence that says which files a data set consists of and what to do with them."""
    files = ", ".join(archive.file for archive in spec.archives)
    return f"get {files} from {spec.page}, then: sosr-data prepare {spec.name} DIRECTORY_WITH_THEM DATA_DIR"


def find_archives(spec: DataSpec, source: Path) -> dict[str, Path]:
    """The path of each archive or its unpacked copy, by the archive's name.

    Args:
        spec: of the data set.
        source: an archive, the directory that holds the archives, or that of an unpacked one.

    Raises:
        UserError: one is missing; the line says which and where it comes from.
    """
    folder = source.parent if source.is_file() else source
    if not source.exists():
        raise UserError(f"{source} does not exist; {how_to_get(spec)}")
    if source.is_file() and source.name not in [archive.file for archive in spec.archives]:
        near = close_names(source.name, [archive.file for archive in spec.archives])
        raise UserError(f"{source} is not an archive of {spec.name}: {near}; {how_to_get(spec)}")
    places = {archive.file: _place(archive, folder) for archive in spec.archives}
    missing = [file for file, place in places.items() if place is None]
    if missing:
        raise UserError(f"{spec.name}: no {missing[0]} in {folder}; {how_to_get(spec)}")
    return {file: place for file, place in places.items() if place is not None}


def _place(archive: Archive, folder: Path) -> Path | None:
    if (folder / archive.file).is_file():
        return folder / archive.file
    if archive.inside:
        # The directory that holds the unpacked copy, or the unpacked copy itself.
        top = archive.inside.split("/", 1)[0]
        for base in (folder, *([folder.parent] if folder.resolve().name == top else [])):
            if (base / archive.inside).exists():
                return base if base == folder else folder.resolve().parent
    return None


def describe_archives(spec: DataSpec, places: dict[str, Path], part: bool) -> list[dict[str, Any]]:
    """What the manifest says of where the data came from, after a look at every byte of every archive.

    Args:
        spec: of the data set.
        places: from `find_archives`.
        part: let archives differ from the official ones.

    Raises:
        UserError: an archive is not the official one.
    """
    found = []
    for archive in spec.archives:
        place = places[archive.file]
        if place.is_dir():
            found.append({"file": archive.file, "unpacked": True})
            continue
        md5, sha256 = _digests(place)
        if archive.md5 is not None and md5 != archive.md5 and not part:
            raise UserError(
                f"{place} is not the official file or not all of it (MD5 {md5}, official {archive.md5}); fetch it "
                "again, or add --allow-subset to make a set that is marked as a part"
            )
        found.append({"file": archive.file, "bytes": place.stat().st_size, "md5": md5, "sha256": sha256})
    return found


def _digests(path: Path) -> tuple[str, str]:
    both = hashlib.md5(usedforsecurity=False), hashlib.sha256()
    try:
        with (
            open(path, "rb") as file,
            tqdm(
                total=path.stat().st_size, desc=path.name, unit="B", unit_scale=True, leave=False, disable=None
            ) as bar,
        ):
            while block := file.read(1 << 20):
                for digest in both:
                    digest.update(block)
                bar.update(len(block))
    except OSError as error:
        raise UserError(f"{path} cannot be read ({reason_of(error)})") from None
    return both[0].hexdigest(), both[1].hexdigest()
