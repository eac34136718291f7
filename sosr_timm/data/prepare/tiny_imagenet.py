"""Tiny ImageNet: 200 classes of 64 x 64 pixels, its validation images sorted into class directories."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

from sosr_timm.data.prepare.members import images, members, texts
from sosr_timm.data.prepare.spec import Archive, Contents, DataSpec, File, Preparation
from sosr_timm.errors import UserError

TOP = "tiny-imagenet-200"
SPEC = DataSpec(
    name="tiny_imagenet",
    page="http://cs231n.stanford.edu",
    archives=(Archive("tiny-imagenet-200.zip", f"{TOP}/wnids.txt", "90528d7ca1a48142e341f4ef8d21d0de"),),
    num_classes=200,
    counts={"train": 100_000, "val": 10_000},
    per_class={"train": 500, "val": 50},
)


def read(places: dict[str, Path], part: bool) -> Contents:
    place = places[SPEC.archives[0].file]
    wnids, words, annotations = texts(place, f"{TOP}/wnids.txt", f"{TOP}/words.txt", f"{TOP}/val/val_annotations.txt")
    # In the order of the letters, as every reader of class directories numbers them; wnids.txt has another order.
    classes = tuple(sorted(wnids.split()))
    return Contents(classes, classes, _files(place, classes, words, annotations, part))


def _files(place: Path, classes: tuple[str, ...], words: str, annotations: str, part: bool) -> Iterator[File]:
    number = {name: label for label, name in enumerate(classes)}
    names = dict(line.split("\t", 1) for line in words.splitlines() if "\t" in line)
    yield File("", "words.txt", "".join(f"{name}\t{names.get(name, '')}\n" for name in classes).encode())
    validation = {}
    for line in annotations.splitlines():
        file, name = line.split("\t")[:2]
        if name not in number:
            raise UserError(f"{place}: val_annotations.txt gives {file} the class '{name}', which is not in wnids.txt")
        validation[f"{TOP}/val/images/{file}"] = name
    for path, content in images(place, validation, part):
        name = validation[path]
        yield File("val", f"val/{name}/{path.rsplit('/', 1)[1]}", content, 1, (number[name],))
    for path, content in members(place, lambda path: path.startswith(f"{TOP}/train/") and path.endswith(".JPEG")):
        name, file = path.split("/")[2], path.rsplit("/", 1)[1]
        if name not in number or not content:
            raise UserError(f"{place}: {path} is empty or of no class that wnids.txt has")
        yield File("train", f"train/{name}/{file}", content, 1, (number[name],))


PREPARATION = Preparation(SPEC, read)
