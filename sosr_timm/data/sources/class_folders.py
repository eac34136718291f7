"""A folder of class folders, as ImageNet is laid out: checked before a run, with what to do where it is not so."""

from __future__ import annotations

import os
import tarfile
from pathlib import Path

from timm.data import create_dataset, get_img_extensions

from sosr_timm.data.sources.class_map import read_class_map
from sosr_timm.data.sources.source import ImageSource, ReaderSource, SourceInfo
from sosr_timm.errors import UserError, one_line
from sosr_timm.registry import close_names

TRAIN_FOLDERS = ("train", "training")
# Someone who asks for the validation split of a set that has only train and test means the latter, but not vice versa.
EVALUATION_FOLDERS = ("validation", "val", "valid", "eval", "evaluation", "test")


def open_folder(root: str | None, split: str, class_map: str = "", endings: str | None = None) -> ImageSource:
    """The images of one split below `root`: root/train/CLASS/*.jpg and root/val/CLASS/*.jpg (or `validation`).

    `endings` says which files count (".png;.jpg"); without it, those that timm takes for images.

    A tar file with the class folders in it (root/train.tar, or `root` itself) does as well as a folder.

    Raises:
        UserError: no folder, no such split, no class folders, a class folder without images, images without a class.
    """
    if not root:
        raise UserError("no data: name a folder (train.py DATA or --data-dir) or a data set (--dataset digits)")
    try:
        place = find_split(Path(root), split)
        classes = read_class_map(class_map, place) if class_map else None
        if place.is_dir():
            _check_layout(place, classes, known_endings(endings))
        if endings and not place.is_dir():
            raise UserError(f"--input-key: of the tar file {place} every image counts")
        reader = create_dataset(
            "", root=str(place), search_split=False, class_map=classes, input_img_mode=None, input_key=endings
        ).reader
    except (OSError, RuntimeError, ValueError, AssertionError, tarfile.TarError) as error:
        raise UserError(f"data folder {root}: {one_line(error)}") from None
    # timm's two readers call it by two names.
    numbers = reader.class_to_idx if hasattr(reader, "class_to_idx") else reader.class_name_to_idx
    _check_names(place, numbers)
    names = sorted(numbers, key=numbers.get)
    return ReaderSource(reader, SourceInfo(num_classes=len(names), class_names=tuple(names)))


def find_split(base: Path, split: str) -> Path:
    """The folder or tar file of a split below `base`, or `base` itself where it has no splits.

    Raises:
        UserError: `base` does not exist, or has splits, but not this one.
    """
    if base.is_file() and base.suffix == ".tar":
        return base
    if base.is_file():
        raise UserError(f"data folder {base} is a file")
    if not base.is_dir():
        near = close_names(base.name, [other.name for other in base.parent.iterdir()]) if base.parent.is_dir() else ""
        raise UserError(f"data folder {base} does not exist{': ' + near if near.startswith('did') else ''}")
    groups = (TRAIN_FOLDERS, ("test",), EVALUATION_FOLDERS)
    names = next((group for group in groups if split in group), (split,))
    for name in (split, *names):
        for place in (base / name, base / f"{name}.tar"):
            if place.is_dir() or (place.is_file() and place.suffix == ".tar"):
                return place
    others = sorted(path.name for path in base.iterdir() if path.is_dir() or path.suffix == ".tar")
    if {name.removesuffix(".tar") for name in others} & {*TRAIN_FOLDERS, *EVALUATION_FOLDERS}:
        raise UserError(f"data folder {base} has no split '{split}' ({' or '.join(names)}); it has {', '.join(others)}")
    return base


def known_endings(given: str | None) -> tuple[str, ...]:
    """File endings that count as images: `given`, separated by semicolons, else timm's.

    Raises:
        UserError: one that does not begin with a dot, which no file would have.
    """
    endings = tuple(given.split(";")) if given else tuple(get_img_extensions())
    for ending in endings:
        if not ending.startswith(".") or ending != ending.lower():
            raise UserError(f"--input-key {given}: for folders, file endings such as '.png;.jpg', not '{ending}'")
    return endings


def _check_layout(folder: Path, classes: dict[str, int] | None, endings: tuple[str, ...]) -> None:
    """Raise where timm's reader would fail late or silently leave out a class, which numbers the others anew."""
    below = sorted(path for path in folder.iterdir() if path.is_dir())
    if not below:
        files = [path for path in folder.iterdir() if path.is_file()]
        if not files:
            raise UserError(f"data folder {folder} is empty")
        raise UserError(
            f"data folder {folder} holds {len(files)} files and no class folders; move each image into the folder of "
            f"its class ({folder}/CLASS/{files[0].name})"
        )
    for path in below:
        if path.name.startswith(".") or (classes is not None and path.name not in classes):
            continue
        if not any(path.iterdir()):
            raise UserError(
                f"class folder {path} is empty; remove it or fill it, else the classes would be numbered wrongly"
            )
        if not _has_image(path, endings):
            raise UserError(
                f"class folder {path} holds no image ({', '.join(endings)}); remove it or fill it, "
                "else the classes would be numbered wrongly"
            )


def _has_image(folder: Path, known: tuple[str, ...]) -> bool:
    walk = os.walk(folder, followlinks=True)
    return any(os.path.splitext(file)[1].lower() in known for _, _, files in walk for file in files)


def _check_names(place: Path, numbers: dict[str, int]) -> None:
    """Raise where timm would make a class of what is none."""
    if "" in numbers:
        raise UserError(f"{place} holds images beside its class folders; move each into the folder of its class")
    hidden = sorted(name for name in numbers if name.startswith("."))
    if hidden:
        raise UserError(f"{place}: the hidden folder '{hidden[0]}' holds images and would count as a class; remove it")
