"""FGVC-Aircraft (Maji et al. 2013, arXiv 1306.5151): 100 variants of aircraft, in three official parts."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

from sosr_timm.data.prepare.members import images, texts
from sosr_timm.data.prepare.spec import Archive, Contents, DataSpec, File, Preparation
from sosr_timm.errors import UserError

TOP = "fgvc-aircraft-2013b/data"
SPLITS = ("train", "val", "test")
SPEC = DataSpec(
    name="aircraft",
    page="https://www.robots.ox.ac.uk/~vgg/data/fgvc-aircraft/",
    archives=(Archive("fgvc-aircraft-2013b.tar.gz", f"{TOP}/variants.txt", "d4acdd33327262359767eeaa97a4f732"),),
    num_classes=100,
    counts={"train": 3_334, "val": 3_333, "test": 3_333},
    per_class={},
)


def read(places: dict[str, Path], part: bool) -> Contents:
    place = places[SPEC.archives[0].file]
    variants, *lists = texts(place, f"{TOP}/variants.txt", *(f"{TOP}/images_variant_{split}.txt" for split in SPLITS))
    classes = tuple(line.strip() for line in variants.splitlines() if line.strip())
    number = {name: label for label, name in enumerate(classes)}
    wanted = {}
    for split, text in zip(SPLITS, lists, strict=True):
        for line in text.splitlines():
            image, _, name = line.strip().partition(" ")
            if image and name not in number:
                raise UserError(f"{place}: image {image} is of the variant '{name}', which variants.txt has not")
            if image:
                wanted[f"{TOP}/images/{image}.jpg"] = (split, number[name])
    folders = tuple(f"{label + 1:03d}.{name.replace('/', '-').replace(' ', '_')}" for label, name in enumerate(classes))
    return Contents(classes, folders, _files(place, wanted, folders, part))


def _files(place: Path, wanted: dict[str, tuple[str, int]], folders: tuple[str, ...], part: bool) -> Iterator[File]:
    for path, content in images(place, wanted, part):
        split, label = wanted[path]
        yield File(split, f"{split}/{folders[label]}/{path.rsplit('/', 1)[1]}", content, 1, (label,))


PREPARATION = Preparation(SPEC, read)
