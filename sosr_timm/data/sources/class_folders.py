"""Class directories, as ImageNet has them, checked before a run."""

from __future__ import annotations

import os
import tarfile
from pathlib import Path

from timm.data import create_dataset, get_img_extensions
from timm.utils import natural_key

from sosr_timm.data.sources.class_map import compare_classes, read_class_map
from sosr_timm.data.sources.names import EVALUATION_SPLITS, TABLES, TRAIN_SPLITS
from sosr_timm.data.sources.source import ImageSource, ReaderSource, SourceInfo
from sosr_timm.errors import UserError, one_line

FAULTS = (OSError, RuntimeError, ValueError, AssertionError, tarfile.TarError)


def open_class_folders(path: Path, class_map: str = "", endings: str | None = None) -> ImageSource:
    """The images in a directory of class directories (path/CLASS/1.jpg), read by timm.

    Args:
        path: of the directory.
        class_map: text file of class names in the order of their numbers; classes that it does not name are left out.
        endings: file endings that count as images (".png;.jpg"); those that timm takes for images where None.

    Raises:
        UserError: no class directories, a class directory without images, or images without a class.
    """
    classes = read_class_map(class_map, path) if class_map else None
    try:
        _check_layout(path, classes, known_endings(endings))
        source = _read(path, classes, endings)
        if classes is None:
            return source
        used = {os.path.relpath(file, path).split(os.sep)[0] for file, _ in source.reader.samples}
        left_out = [other.name for other in _visible(path) if other.name not in used]
        return compare_classes(source, class_map, classes, left_out)
    except FAULTS as error:
        raise UserError(f"data directory {path}: {one_line(error)}") from None


def open_tar(path: Path, class_map: str = "", endings: str | None = None) -> ImageSource:
    """The images in a tar file of class directories, read by timm.

    Args:
        path: of the tar file.
        class_map: as in `open_class_folders`.
        endings: refused: timm's reader takes every image.

    Raises:
        UserError: as in `open_class_folders`, or a damaged file.
    """
    if endings:
        raise UserError(f"--input-key: of the tar file {path} every image counts")
    classes = read_class_map(class_map, path) if class_map else None
    try:
        source = _read(path, classes, None)
        return source if classes is None else compare_classes(source, class_map, classes)
    except FAULTS as error:
        raise UserError(f"data directory {path}: {one_line(error)}") from None


def _read(path: Path, classes: dict[str, int] | None, endings: str | None) -> ImageSource:
    reader = create_dataset(
        "", root=str(path), search_split=False, class_map=classes, input_img_mode=None, input_key=endings
    ).reader
    # timm's two readers call it by two names.
    numbers = reader.class_to_idx if hasattr(reader, "class_to_idx") else reader.class_name_to_idx
    _check_names(path, numbers, classes is not None)
    names = sorted(numbers, key=numbers.get)
    return ReaderSource(reader, SourceInfo(num_classes=len(names), class_names=tuple(names)))


def known_endings(given: str | None) -> tuple[str, ...]:
    """File endings that count as images: `given`, separated by semicolons, else timm's.

    Raises:
        UserError: one that does not begin with a dot, which no file would have.
    """
    endings = tuple(given.split(";")) if given else tuple(get_img_extensions())
    for ending in endings:
        if not ending.startswith(".") or ending != ending.lower():
            raise UserError(
                f"--input-key {given}: for class directories, file endings such as '.png;.jpg', not '{ending}'"
            )
    return endings


def _check_layout(path: Path, classes: dict[str, int] | None, endings: tuple[str, ...]) -> None:
    """Raise where timm's reader would fail late, mix splits, or leave out a class, which numbers the others anew."""
    below = sorted(other for other in path.iterdir() if other.is_dir())
    visible = _visible(path)
    if not below:
        files = [other for other in path.iterdir() if other.is_file()]
        if not files:
            raise UserError(f"data directory {path} is empty")
        table = next((file for file in sorted(files) if file.suffix.lower() in TABLES), None)
        way_out = f", or name the table that labels them ({table})" if table else ""
        raise UserError(
            f"data directory {path} holds {len(files)} files and no class directories; move each image into the "
            f"directory of its class ({path}/CLASS/{files[0].name}){way_out}"
        )
    if len(visible) == 1:
        inside = {other.name for other in visible[0].iterdir() if other.is_dir()}
        if inside & {*TRAIN_SPLITS} and inside & {*EVALUATION_SPLITS}:
            raise UserError(f"data directory {path} has its splits one level deeper; name {visible[0]}")
    for other in visible:
        if classes is not None and other.name not in classes:
            continue
        if not any(other.iterdir()):
            raise UserError(
                f"class directory {other} is empty; remove it or fill it, otherwise the classes get wrong numbers"
            )
        if not _has_image(other, endings):
            raise UserError(
                f"class directory {other} holds no image ({', '.join(endings)}); remove it or fill it, otherwise the "
                "classes get wrong numbers"
            )


def _visible(path: Path) -> list[Path]:
    """The directories in a directory, without hidden ones."""
    return sorted(other for other in path.iterdir() if other.is_dir() and not other.name.startswith("."))


def _has_image(folder: Path, known: tuple[str, ...]) -> bool:
    walk = os.walk(folder, followlinks=True)
    return any(os.path.splitext(file)[1].lower() in known for _, _, files in walk for file in files)


def _check_names(path: Path, numbers: dict[str, int], given: bool) -> None:
    """Raise where timm would make a class of what is none, or number two classes by chance."""
    if "" in numbers:
        raise UserError(f"{path} holds images beside its class directories; move each into the directory of its class")
    hidden = sorted(name for name in numbers if name.startswith("."))
    if hidden:
        raise UserError(
            f"{path}: the hidden directory '{hidden[0]}' holds images and would count as a class; remove it"
        )
    if given:
        return
    # timm sorts by this key alone, and what it sorts comes in another order in each process.
    by_key: dict[str, str] = {}
    for name in sorted(numbers):
        other = by_key.setdefault(repr(natural_key(name)), name)
        if other != name:
            raise UserError(
                f"{path}: timm sorts the classes '{other}' and '{name}' alike, so their numbers would change from "
                "start to start; rename one, or number the classes with --class-map"
            )
