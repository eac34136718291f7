"""CUB-200-2011 (Wah et al. 2011): 200 birds, in the official split."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

from sosr_timm.data.prepare.members import images, texts
from sosr_timm.data.prepare.spec import Archive, Contents, DataSpec, File, Preparation
from sosr_timm.errors import UserError

TOP = "CUB_200_2011"
TABLES = ("images.txt", "train_test_split.txt", "image_class_labels.txt", "classes.txt")
SPEC = DataSpec(
    name="cub200",
    page="https://www.vision.caltech.edu/datasets/cub_200_2011/",
    archives=(Archive("CUB_200_2011.tgz", f"{TOP}/images.txt", "97eceeb196236b17998738112f37df78"),),
    num_classes=200,
    counts={"train": 5_994, "test": 5_794},
    per_class={},
)


def read(places: dict[str, Path], part: bool) -> Contents:
    place = places[SPEC.archives[0].file]
    try:
        files, in_training, labels, names = (
            dict(line.split() for line in text.splitlines() if line.strip())
            for text in texts(place, *(f"{TOP}/{table}" for table in TABLES))
        )
        numbers = sorted(names, key=int)
        label = {number: index for index, number in enumerate(numbers)}
        wanted = {
            f"{TOP}/images/{file}": ("train" if in_training[image] == "1" else "test", label[labels[image]])
            for image, file in files.items()
        }
    except (KeyError, ValueError) as error:
        raise UserError(f"{place}: {', '.join(TABLES)} do not fit each other ({error})") from None
    folders = tuple(names[number] for number in numbers)
    classes = tuple(folder.partition(".")[2].replace("_", " ") or folder for folder in folders)
    return Contents(classes, folders, _files(place, wanted, folders, part))


def _files(place: Path, wanted: dict[str, tuple[str, int]], folders: tuple[str, ...], part: bool) -> Iterator[File]:
    for path, content in images(place, wanted, part):
        split, label = wanted[path]
        yield File(split, f"{split}/{folders[label]}/{path.rsplit('/', 1)[1]}", content, 1, (label,))


PREPARATION = Preparation(SPEC, read)
