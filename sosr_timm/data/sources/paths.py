"""The images at a path: class directories, an archive of them, or a table of paths and labels."""

from __future__ import annotations

from pathlib import Path

from sosr_timm.data.sources.archives import open_archive, read_archive
from sosr_timm.data.sources.class_folders import open_class_folders, open_tar
from sosr_timm.data.sources.names import TABLES, have_splits, no_such_split, synonyms
from sosr_timm.data.sources.reader_options import ReaderOptions
from sosr_timm.data.sources.source import ImageSource
from sosr_timm.data.sources.tables import open_table
from sosr_timm.errors import UserError
from sosr_timm.registry import close_names

ARCHIVES = (".tar", ".zip")
COMPRESSED_TARS = (".tar.gz", ".tgz", ".tar.bz2", ".tar.xz", ".tar.zst")


def open_path(root: str | None, split: str, class_map: str = "", reading: ReaderOptions | None = None) -> ImageSource:
    """The images of one split at a path.

    Args:
        root: a directory (root/train/CLASS/*.jpg and root/validation/CLASS/*.jpg), a .tar or .zip of such a directory,
            a table of paths and labels (.csv, .tsv, .parquet), or a directory with one archive or table for each split.
        split: "train", "validation", one of their synonyms, or any other name of a split that is there.
        class_map: text file of class names in the order of their numbers.
        reading: `input_key` is the column of the paths in a table, else the file endings that count as images
            (".png;.jpg"); `target_key` is the column of the labels in a table.

    Raises:
        UserError: nothing at the path, no such split, or images whose classes are not clear.
    """
    if not root:
        raise UserError("no data: name a directory (train.py DATA or --data-dir) or a data set (--dataset digits)")
    reading = reading or ReaderOptions()
    path = find_split(Path(root), split)
    kind = path.suffix.lower() if path.is_file() else ""
    if kind in TABLES:
        reading.refuse(f"the table {path}", "input_key", "target_key")
        return open_table(path, split, class_map, reading)
    reading.refuse("", "input_key")
    if not kind:
        return open_class_folders(path, class_map, reading.input_key)
    if kind == ".zip" or _has_splits(path, reading.input_key):
        return open_archive(read_archive(path, reading.input_key), split, class_map)
    # timm's reader knows more layouts: tar files in a tar file, for instance.
    return open_tar(path, class_map, reading.input_key)


def find_split(base: Path, split: str) -> Path:
    """The directory, archive or table of a split below `base`, or `base` itself where it has none for each split.

    Raises:
        UserError: `base` does not exist or cannot be read, or has splits, but not this one.
    """
    if base.is_file():
        _check_file(base)
        return base
    if not base.is_dir():
        near = close_names(base.name, [other.name for other in base.parent.iterdir()]) if base.parent.is_dir() else ""
        raise UserError(f"data directory {base} does not exist{': ' + near if near.startswith('did') else ''}")
    files = (*ARCHIVES, *TABLES)
    for name in synonyms(split):
        if (base / name).is_dir():
            return base / name
        for path in (base / f"{name}{ending}" for ending in files):
            if path.is_file():
                return path
    there = [path for path in base.iterdir() if path.is_dir() or path.suffix in files]
    if have_splits(path.name if path.is_dir() else path.stem for path in there):
        raise no_such_split(f"data directory {base}", split, (path.name for path in there))
    return base


def _has_splits(path: Path, endings: str | None) -> bool:
    """Whether a tar file holds splits; one that is named after a split is not read through for that."""
    if have_splits([path.stem]):
        return False
    try:
        return bool(read_archive(path, endings).splits)
    except UserError:
        return False  # timm's reader says what it finds


def _check_file(path: Path) -> None:
    if path.suffix.lower() in (*ARCHIVES, *TABLES):
        return
    ending = next((ending for ending in COMPRESSED_TARS if path.name.endswith(ending)), None)
    if ending:
        folder = path.name.removesuffix(ending)
        raise UserError(
            f"{path} is a compressed tar, which cannot be read image by image; unpack it and name the directory: "
            f"mkdir {folder} && tar -xf {path} -C {folder}"
        )
    known = ", ".join((*ARCHIVES, *TABLES))
    raise UserError(f"data directory {path} is a file, and neither an archive nor a table ({known})")
