"""ImageNet (ILSVRC 2012) from its three archives: a tar of tars, and validation images sorted by the ground truth."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

from torchvision.datasets.imagenet import ARCHIVE_META

from sosr_timm.data.prepare.matlab import matlab_table
from sosr_timm.data.prepare.members import DAMAGE, contents, images, members, nested_tar
from sosr_timm.data.prepare.spec import Archive, Contents, DataSpec, File, Preparation
from sosr_timm.errors import UserError, one_line

TRAIN, VALIDATION, DEVKIT = (
    Archive(ARCHIVE_META[part][0], "", ARCHIVE_META[part][1]) for part in ("train", "val", "devkit")
)
TABLES = "ILSVRC2012_devkit_t12/data"
SPEC = DataSpec(
    name="imagenet",
    page="https://image-net.org/challenges/LSVRC/2012",
    archives=(TRAIN, VALIDATION, DEVKIT),
    num_classes=1000,
    counts={"train": 1_281_167, "val": 50_000},
    per_class={"val": 50},
)


def read(places: dict[str, Path], part: bool) -> Contents:
    devkit = places[DEVKIT.file]
    truth, table = contents(devkit, f"{TABLES}/ILSVRC2012_validation_ground_truth.txt", f"{TABLES}/meta.mat")
    (synsets,) = matlab_table(table, f"{devkit}, meta.mat", "synsets")
    # Beside the classes, the table has the synsets above them in WordNet.
    leaves = [row for row in synsets if int(row["num_children"]) == 0]
    by_number = {int(row["ILSVRC2012_ID"]): str(row["WNID"]) for row in leaves}
    words = {str(row["WNID"]): str(row["words"]) for row in leaves}
    classes = tuple(sorted(words))
    try:
        validation = {
            f"ILSVRC2012_val_{image:08d}.JPEG": by_number[int(line)]
            for image, line in enumerate(truth.decode().split(), start=1)
        }
    except (KeyError, ValueError) as error:
        raise UserError(f"{devkit}: the ground truth names a class that is not in meta.mat ({error})") from None
    return Contents(classes, classes, _files(places, classes, words, validation, part))


def _files(
    places: dict[str, Path], classes: tuple[str, ...], words: dict[str, str], validation: dict[str, str], part: bool
) -> Iterator[File]:
    number = {name: label for label, name in enumerate(classes)}
    yield File("", "words.txt", "".join(f"{name}\t{words[name]}\n" for name in classes).encode())
    for file, content in images(places[VALIDATION.file], validation, part):
        name = validation[file]
        yield File("val", f"val/{name}/{file}", content, 1, (number[name],))
    place = places[TRAIN.file]
    for archive, packed in members(place, lambda name: name.endswith(".tar")):
        name = archive.removesuffix(".tar")
        if name not in number:
            raise UserError(f"{place}: {archive} is of no class that the development kit has")
        try:
            for file, content in nested_tar(packed, f"{place}, {archive}"):
                yield File("train", f"train/{name}/{file}", content, 1, (number[name],))
        except DAMAGE as error:
            raise UserError(f"{place}: {archive} is damaged ({one_line(error)})") from None


PREPARATION = Preparation(SPEC, read)
