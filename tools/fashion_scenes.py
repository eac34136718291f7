"""Make a small detection set in the layout of Pascal VOC: Fashion-MNIST items on textured canvases.

    python -m tools.fashion_scenes DIRECTORY

The items come from Debian's package `dataset-fashion-mnist`. The set stands for VOC where VOC cannot be had: objects of
ten classes, of several sizes and colours, some of them faint and marked as difficult. The same arguments give the same
bytes.
"""

from __future__ import annotations

import argparse
import sys
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from xml.etree import ElementTree

import numpy as np
from PIL import Image

from sosr_timm.data.sources.embedded import FASHION_MNIST_SYSTEM_FOLDER, read_idx

KINDS = ("images-idx3", "labels-idx1")
CLASSES = ("tshirt", "trouser", "pullover", "dress", "coat", "sandal", "shirt", "sneaker", "bag", "boot")
CLASS_MAP = "classes.txt"
FAINT = 0.08  # share of the objects that are hard to see
MOST_OVERLAP = 0.1  # share of a new object's box that may cover an older one


@dataclass(frozen=True)
class Item:
    """An object of a scene: its class, the pixels it fills (left, top, right, bottom, from 0), whether it is faint."""

    name: str
    box: tuple[int, int, int, int]
    difficult: bool


def read_fashion(part: str) -> tuple[np.ndarray, np.ndarray]:
    """(N, 28, 28) bytes and (N,) labels of Fashion-MNIST; `part` is "train" or "t10k"."""
    images, labels = (read_idx(FASHION_MNIST_SYSTEM_FOLDER, f"{part}-{kind}-ubyte") for kind in KINDS)
    return images, labels


def canvas(draw: np.random.Generator, width: int, height: int) -> np.ndarray:
    """(height, width, 3) float32 in [0, 1]: smooth clouds of colour with grain and a few lines."""
    coarse = (draw.random((5, 5, 3)) * 255).astype(np.uint8)
    clouds = np.asarray(Image.fromarray(coarse).resize((width, height), Image.Resampling.BICUBIC)) / 255
    texture = 0.25 + 0.4 * clouds + draw.normal(0, 0.05, (height, width, 1))
    for _ in range(draw.integers(2, 6)):
        row, slope = draw.integers(0, height), draw.uniform(-0.7, 0.7)
        rows = np.clip(row + slope * np.arange(width), 0, height - 1).astype(int)
        texture[rows, np.arange(width)] = draw.random(3)
    return texture.astype(np.float32)


def make_scene(
    draw: np.random.Generator,
    items: np.ndarray,
    labels: np.ndarray,
    classes: Sequence[str] = CLASSES,
    side: int = 96,
    most: int = 3,
    sizes: tuple[float, float] = (28, 46),
) -> tuple[Image.Image, list[Item]]:
    """A scene and its objects.

    Args:
        draw: random numbers.
        items: (N, h, w) bytes; what is 0 is transparent.
        labels: (N,) of the items.
        classes: names of the labels.
        side: the longer side in pixels; the other one is three quarters of it or as long.
        most: objects of a scene; at least one.
        sizes: shortest and longest side of an item in pixels.
    """
    width, height = draw.permutation([side, side * 3 // 4]) if draw.random() < 0.5 else (side, side)
    picture, placed = canvas(draw, width, height), []
    taken = np.zeros((height, width), dtype=bool)
    for _ in range(draw.integers(1, most + 1)):
        index = draw.integers(len(items))
        size = int(draw.uniform(*sizes))
        item = np.asarray(Image.fromarray(items[index]).resize((size, size), Image.Resampling.BILINEAR)) / 255
        rows, columns = (np.flatnonzero((item > 0.1).any(axis=axis)) for axis in (1, 0))
        item = item[rows[0] : rows[-1] + 1, columns[0] : columns[-1] + 1]
        left, top = draw.integers(0, width - item.shape[1] + 1), draw.integers(0, height - item.shape[0] + 1)
        place = np.s_[top : top + item.shape[0], left : left + item.shape[1]]
        tint, faint = 0.55 + 0.45 * draw.random(3), bool(draw.random() < FAINT)
        if taken[place].mean() > MOST_OVERLAP:
            continue
        taken[place] = True
        opaque = np.clip(item * 6, 0, 1)[..., None] * (0.25 if faint else 1.0)
        picture[place] = (1 - opaque) * picture[place] + opaque * (0.15 + 0.85 * item[..., None]) * tint
        box = (int(left), int(top), int(left + item.shape[1]), int(top + item.shape[0]))
        placed.append(Item(classes[labels[index]], box, faint))
    return Image.fromarray((picture.clip(0, 1) * 255).astype(np.uint8)), placed


def annotation(name: str, image: Image.Image, items: Sequence[Item]) -> bytes:
    """The annotation of an image in VOC's format, which counts pixels from 1."""
    root = ElementTree.Element("annotation")
    ElementTree.SubElement(root, "filename").text = f"{name}.jpg"
    size = ElementTree.SubElement(root, "size")
    for tag, value in (("width", image.width), ("height", image.height), ("depth", 3)):
        ElementTree.SubElement(size, tag).text = str(value)
    for item in items:
        entry = ElementTree.SubElement(root, "object")
        ElementTree.SubElement(entry, "name").text = item.name
        ElementTree.SubElement(entry, "difficult").text = str(int(item.difficult))
        box = ElementTree.SubElement(entry, "bndbox")
        left, top, right, bottom = item.box
        for tag, value in (("xmin", left + 1), ("ymin", top + 1), ("xmax", right), ("ymax", bottom)):
            ElementTree.SubElement(box, tag).text = str(value)
    ElementTree.indent(root)
    return ElementTree.tostring(root) + b"\n"


def write_list(
    directory: Path, year: str, name: str, scenes: Sequence[tuple[Image.Image, list[Item]]], first: int = 1
) -> None:
    """Write scenes as one of VOC's lists of images: `ImageSets/Main/NAME.txt` of a year."""
    folder = directory / "VOCdevkit" / f"VOC{year}"
    for part in ("JPEGImages", "Annotations", "ImageSets/Main"):
        (folder / part).mkdir(parents=True, exist_ok=True)
    names = [f"{number:06d}" for number in range(first, first + len(scenes))]
    for number, (image, items) in zip(names, scenes, strict=True):
        image.save(folder / "JPEGImages" / f"{number}.jpg", quality=92)
        (folder / "Annotations" / f"{number}.xml").write_bytes(annotation(number, image, items))
    (folder / "ImageSets" / "Main" / f"{name}.txt").write_text("\n".join(names) + "\n")


def write_scenes(directory: Path, seed: int, train: int, test: int, side: int = 96) -> None:
    """Write the lists 2007_trainval, 2012_trainval and 2007_test, and the names of the classes.

    Args:
        directory: to write.
        seed: of everything that is drawn.
        train: scenes of the two training lists together, with items of Fashion-MNIST's training part.
        test: scenes to evaluate on, with items of its test part.
        side: see `make_scene`.
    """
    half = train // 2
    for number, (year, name, part, count, first) in enumerate(
        [
            ("2007", "trainval", "train", half, 1),
            ("2012", "trainval", "train", train - half, 1),
            ("2007", "test", "t10k", test, half + 1),
        ]
    ):
        draw = np.random.default_rng([seed, number])
        items, labels = read_fashion(part)
        write_list(directory, year, name, [make_scene(draw, items, labels, side=side) for _ in range(count)], first)
    (directory / CLASS_MAP).write_text("\n".join(CLASSES) + "\n")


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0], prog="python -m tools.fashion_scenes")
    parser.add_argument("directory", type=Path, help="directory to make, for --data-dir")
    parser.add_argument("--train", type=int, default=400, help="scenes to train on (default 400)")
    parser.add_argument("--test", type=int, default=200, help="scenes to evaluate on (default 200)")
    parser.add_argument("--side", type=int, default=96, help="longer side in pixels (default 96)")
    parser.add_argument("--seed", type=int, default=0)
    given = parser.parse_args()
    if given.directory.exists():
        parser.error(f"{given.directory} exists already")
    write_scenes(given.directory, given.seed, given.train, given.test, given.side)
    print(f"{given.directory}: {given.train} scenes to train on, {given.test} to evaluate on, class map {CLASS_MAP}")
    return 0


if __name__ == "__main__":
    sys.exit(main())
