"""Images of Pascal VOC with their objects, read from the annotations and checked before training starts."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any
from xml.etree import ElementTree

import numpy as np

from sosr_timm.data.prepare.manifest import read_manifest
from sosr_timm.data.prepare.voc import CLASSES
from sosr_timm.data.sources.class_map import read_class_map
from sosr_timm.errors import UserError, one_line, reason_of
from sosr_timm.registry import close_names

DEVKIT = "VOCdevkit"
TOLERANCE = 1.0  # pixels that a box may be outside of its image: some tools count them from 0


@dataclass(frozen=True)
class Scene:
    """An image and its objects.

    Attributes:
        name: as `2007/000012`.
        image: path of the file.
        width: in pixels.
        height: in pixels.
        boxes: (n, 4) float32, left, top, right, bottom; continuous coordinates whose origin is the image's corner, so
            that VOC's box from pixel 1 to pixel 3 is from 0 to 3.
        labels: (n,) int64.
        difficult: (n,) bool; VOC ignores these objects in an evaluation.
    """

    name: str
    image: Path
    width: int
    height: int
    boxes: np.ndarray
    labels: np.ndarray
    difficult: np.ndarray


@dataclass(frozen=True)
class Scenes:
    """The images of some lists of VOC.

    Attributes:
        scenes: in the order of the lists.
        classes: names in the order of the labels.
        origin: what a run's record says of the data.
    """

    scenes: tuple[Scene, ...]
    classes: tuple[str, ...]
    origin: dict[str, Any]

    def __len__(self) -> int:
        return len(self.scenes)


def read_classes(class_map: str, root: Path) -> tuple[str, ...]:
    """The classes of a class map, or VOC's twenty.

    Raises:
        UserError: a class map that cannot be read.
    """
    return tuple(read_class_map(class_map, root)) if class_map else CLASSES


def open_scenes(data_dir: str | None, splits: Sequence[str], class_map: str = "") -> Scenes:
    """Read the annotations of some lists of images; the images themselves are only looked up.

    Args:
        data_dir: the directory that holds VOCdevkit.
        splits: lists, each as YEAR_LIST: `2007_trainval` is VOC2007/ImageSets/Main/trainval.txt.
        class_map: path of a text file of classes; VOC's where empty.

    Raises:
        UserError: no such directory, list, annotation or image, an unknown class, or a box outside of its image.
    """
    if not data_dir:
        raise UserError("where is VOC? Name the directory that 'sosr-data prepare voc ARCHIVES DIRECTORY' has made")
    root = Path(data_dir)
    devkit = root / DEVKIT
    if not devkit.is_dir():
        advice = "make it with: sosr-data prepare voc ARCHIVES DIRECTORY"
        raise UserError(f"{root}{f' has no {DEVKIT}' if root.is_dir() else ': no such directory'}; {advice}")
    classes = read_classes(class_map, root)
    numbers = {name: number for number, name in enumerate(classes)}
    scenes: list[Scene] = []
    for split in splits:
        year, names = _list_of(devkit, split)
        scenes += [_scene(devkit / f"VOC{year}", f"{year}/{name}", name, numbers) for name in names]
    twice = len(scenes) - len({scene.name for scene in scenes})
    if twice:
        raise UserError(f"{' '.join(splits)}: {twice} images are in more than one of the lists")
    manifest = read_manifest(root)
    origin = {} if manifest is None else manifest.origin()
    return Scenes(tuple(scenes), classes, {**origin, "splits": list(splits)})


def _list_of(devkit: Path, split: str) -> tuple[str, list[str]]:
    """The year of a list, and the names of its images."""
    year, _, name = split.partition("_")
    path = devkit / f"VOC{year}" / "ImageSets" / "Main" / f"{name}.txt"
    try:
        text = path.read_text(encoding="utf-8")
    except (OSError, ValueError) as error:
        # The lists of single classes are called CLASS_LIST.
        found = sorted(devkit.glob("VOC*/ImageSets/Main/*.txt"))
        known = [f"{other.parts[-4].removeprefix('VOC')}_{other.stem}" for other in found if "_" not in other.stem]
        if path.is_file():
            raise UserError(f"{path} cannot be read ({reason_of(error)})") from None
        raise UserError(f"unknown list '{split}' ({path} does not exist): {close_names(split, known)}") from None
    names = text.split()
    if not names:
        raise UserError(f"{path} names no image")
    return year, names


def _scene(folder: Path, title: str, name: str, numbers: dict[str, int]) -> Scene:
    path, image = folder / "Annotations" / f"{name}.xml", folder / "JPEGImages" / f"{name}.jpg"
    try:
        root = ElementTree.parse(path).getroot()
    except ElementTree.ParseError as error:
        raise UserError(f"{path} is not valid XML ({one_line(error)})") from None
    except OSError as error:
        raise UserError(f"{path} cannot be read ({reason_of(error)})") from None
    if not image.is_file():
        raise UserError(f"{image} is missing; {path} describes it")
    width, height = (int(_number(root, f"size/{side}", path)) for side in ("width", "height"))
    if min(width, height) < 1:
        raise UserError(f"{path}: the image has {width} x {height} pixels")
    boxes, labels, difficult = [], [], []
    for found in root.findall("object"):
        label = (found.findtext("name") or "").strip()
        if label not in numbers:
            raise UserError(f"{path}: unknown class '{label}': {close_names(label, numbers)}")
        boxes.append(_box(found, label, width, height, path))
        labels.append(numbers[label])
        difficult.append((found.findtext("difficult") or "0").strip() == "1")
    return Scene(
        title,
        image,
        width,
        height,
        np.asarray(boxes, dtype=np.float32).reshape(-1, 4),
        np.asarray(labels, dtype=np.int64),
        np.asarray(difficult, dtype=bool),
    )


def _box(found: ElementTree.Element, label: str, width: int, height: int, path: Path) -> tuple[float, ...]:
    """Left, top, right, bottom in continuous coordinates: VOC counts pixels from 1, the last one included."""
    left, top, right, bottom = (_number(found, f"bndbox/{side}", path) for side in ("xmin", "ymin", "xmax", "ymax"))
    written = f"{path}: the box of '{label}' from ({left:g}, {top:g}) to ({right:g}, {bottom:g})"
    if left > right or top > bottom:
        raise UserError(f"{written} has no area")
    if min(left, top) < 1 - TOLERANCE or right > width + TOLERANCE or bottom > height + TOLERANCE:
        raise UserError(f"{written} is outside of the image of {width} x {height} pixels")
    return max(left - 1, 0.0), max(top - 1, 0.0), min(right, float(width)), min(bottom, float(height))


def _number(parent: ElementTree.Element, place: str, path: Path) -> float:
    text = parent.findtext(place)
    try:
        number = float(text)  # some annotations of 2012 have fractions
    except (TypeError, ValueError):
        raise UserError(f"{path}: <{place.replace('/', '><')}> is {text!r}, not a number") from None
    if not math.isfinite(number):
        raise UserError(f"{path}: <{place.replace('/', '><')}> is {text!r}, not a number")
    return number
