"""Oxford Flowers 102 (Nilsback and Zisserman 2008), in its three official parts."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

from torchvision.datasets import Flowers102

from sosr_timm.data.prepare.matlab import matlab_table
from sosr_timm.data.prepare.members import contents, images
from sosr_timm.data.prepare.spec import Archive, Contents, DataSpec, File, Preparation
from sosr_timm.errors import UserError

IMAGES, LABELS, SPLITS = (
    Archive(Flowers102._file_dict[part][0], inside, Flowers102._file_dict[part][1])
    for part, inside in (("image", "jpg"), ("label", ""), ("setid", ""))
)
TABLES = {"train": "trnid", "val": "valid", "test": "tstid"}
SPEC = DataSpec(
    name="flowers102",
    page="https://www.robots.ox.ac.uk/~vgg/data/flowers/102/",
    archives=(IMAGES, LABELS, SPLITS),
    num_classes=102,
    counts={"train": 1_020, "val": 1_020, "test": 6_149},
    per_class={"train": 10, "val": 10},
)


def read(places: dict[str, Path], part: bool) -> Contents:
    (of_labels,), (of_splits,) = (contents(places[archive.file], archive.file) for archive in (LABELS, SPLITS))
    (labels,) = matlab_table(of_labels, str(places[LABELS.file]), "labels")
    parts = matlab_table(of_splits, str(places[SPLITS.file]), *TABLES.values())
    # The archive has no names of the flowers.
    classes = tuple(f"{number:03d}" for number in range(1, int(labels.max()) + 1))
    try:
        wanted = {
            f"jpg/image_{image:05d}.jpg": (split, int(labels[image - 1]) - 1)
            for split, numbers in zip(TABLES, parts, strict=True)
            for image in numbers.tolist()
        }
    except IndexError as error:
        raise UserError(f"{places[SPLITS.file]} names images that {LABELS.file} has not ({error})") from None
    return Contents(classes, classes, _files(places[IMAGES.file], wanted, classes, part))


def _files(place: Path, wanted: dict[str, tuple[str, int]], classes: tuple[str, ...], part: bool) -> Iterator[File]:
    for path, content in images(place, wanted, part):
        split, label = wanted[path]
        yield File(split, f"{split}/{classes[label]}/{path.rsplit('/', 1)[1]}", content, 1, (label,))


PREPARATION = Preparation(SPEC, read)
