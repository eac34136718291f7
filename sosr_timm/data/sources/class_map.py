"""Class -> index from a text file: one class a line, in the order of the indices."""

from __future__ import annotations

import dataclasses
from collections.abc import Iterable
from pathlib import Path

import numpy as np

from sosr_timm.data.sources.source import ImageSource
from sosr_timm.errors import UserError
from sosr_timm.registry import close_names


def read_class_map(path: str, folder: Path) -> dict[str, int]:
    """The classes of a text file by name.

    Args:
        path: of the file; looked for at this path, then in `folder`.
        folder: of the data set.

    Raises:
        UserError: a pickle, no such file, no text, no class in it, an empty line between classes, or a class twice.
    """
    if Path(path).suffix in (".pkl", ".pickle"):
        raise UserError(f"class map {path}: a pickle can run code when it is read; write one class a line into a .txt")
    file = Path(path) if Path(path).is_file() else folder / path
    try:
        lines = file.read_text(encoding="utf-8").rstrip().splitlines()
    except FileNotFoundError:
        near = close_names(file.name, [other.name for other in folder.iterdir()]) if folder.is_dir() else ""
        raise UserError(f"class map {path}: no such file{': ' + near if near.startswith('did') else ''}") from None
    except (OSError, ValueError) as error:
        raise UserError(f"class map {file}: cannot be read ({error})") from None
    numbers: dict[str, int] = {}
    for index, name in enumerate(line.strip() for line in lines):
        if not name:
            raise UserError(f"class map {file}, line {index + 1}: empty; every line is one class")
        if name in numbers:
            raise UserError(f"class map {file}, line {index + 1}: '{name}' is listed twice")
        numbers[name] = index
    if not numbers:
        raise UserError(f"class map {file} is empty")
    return numbers


def compare_classes(
    source: ImageSource, class_map: str, numbers: dict[str, int], left_out: Iterable[str] = ()
) -> ImageSource:
    """The source, whose `info.origin` says how its classes and those of the class map differ.

    Where they do, `class_map` holds how many classes of the images the map leaves out, how many of its own have no
    image, and the first of each.

    Args:
        source: the images whose class the map names.
        class_map: path of the file.
        numbers: its classes.
        left_out: classes of other images.

    Raises:
        UserError: a class without images that is spelled nearly like one that is left out.
    """
    outside = sorted(set(left_out))
    seen = set(np.unique(source.read_labels()).tolist())
    empty = [name for name, number in numbers.items() if number not in seen]
    for name in empty if outside else ():
        near = close_names(name, outside)
        if near.startswith("did"):
            raise UserError(f"class map {class_map}: no image has the class '{name}'; {near}")
    if outside or empty:
        counts = {"left_out": len(outside), "without_images": len(empty)}
        said = {"class_map": {**counts, "first": [*outside[:1], *empty[:1]]}}
        source.info = dataclasses.replace(source.info, origin={**source.info.origin, **said})
    return source
