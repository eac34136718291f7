"""Pascal VOC 2007 and 2012 (Everingham et al. 2010), laid out as torchvision's VOCDetection reads it."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

from torchvision.datasets.voc import DATASET_YEAR_DICT

from sosr_timm.data.prepare.members import images, members, texts
from sosr_timm.data.prepare.spec import Archive, Contents, DataSpec, File, Preparation

CLASSES = (
    *("aeroplane", "bicycle", "bird", "boat", "bottle", "bus", "car", "cat", "chair", "cow"),
    *("diningtable", "dog", "horse", "motorbike", "person", "pottedplant", "sheep", "sofa", "train", "tvmonitor"),
)
# Key of torchvision's table, year, image set.
PARTS = {
    "2007_trainval": ("2007", "2007", "trainval"),
    "2007_test": ("2007-test", "2007", "test"),
    "2012_trainval": ("2012", "2012", "trainval"),
}


def _archive(split: str) -> Archive:
    key, year, image_set = PARTS[split]
    known = DATASET_YEAR_DICT[key]
    return Archive(known["filename"], f"VOCdevkit/VOC{year}/ImageSets/Main/{image_set}.txt", known["md5"])


SPEC = DataSpec(
    name="voc",
    page="http://host.robots.ox.ac.uk/pascal/VOC/",
    archives=tuple(_archive(split) for split in PARTS),
    num_classes=len(CLASSES),
    counts={"2007_trainval": 5_011, "2007_test": 4_952, "2012_trainval": 11_540},
    per_class={},
)


def read(places: dict[str, Path], part: bool) -> Contents:
    return Contents(CLASSES, (), _files(places, part))


def _files(places: dict[str, Path], part: bool) -> Iterator[File]:
    for split, (_, year, image_set) in PARTS.items():
        place = places[_archive(split).file]
        top = f"VOCdevkit/VOC{year}"
        (listed,) = texts(place, f"{top}/ImageSets/Main/{image_set}.txt")
        wanted = {}
        for name in listed.split():
            wanted[f"{top}/JPEGImages/{name}.jpg"] = 1
            wanted[f"{top}/Annotations/{name}.xml"] = 0
        for path, content in images(place, wanted, part):
            yield File(split, path, content, wanted[path])
        # The lists of each class too: CLASS_trainval.txt.
        ending = f"{image_set}.txt"
        lists = f"{top}/ImageSets/Main/"
        for path, content in members(place, lambda path: path.startswith(lists) and path.endswith(ending)):  # noqa: B023
            yield File(split, path, content)


PREPARATION = Preparation(SPEC, read)
