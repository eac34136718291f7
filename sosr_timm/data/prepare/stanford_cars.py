"""Stanford Cars (Krause et al. 2013): 196 makes of car."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

from sosr_timm.data.prepare.matlab import matlab_table
from sosr_timm.data.prepare.members import contents, images
from sosr_timm.data.prepare.spec import Archive, Contents, DataSpec, File, Preparation

DEVKIT = Archive("car_devkit.tgz", "devkit/cars_meta.mat", "c3b158d763b6e2245038c8ad08e45376")
TEST_LABELS = Archive("cars_test_annos_withlabels.mat", "", "b0a2b23655a3edd16d84508592a98d10")
TRAIN = Archive("cars_train.tgz", "cars_train", "065e5b463ae28d29e77c1b4b166cfe61")
TEST = Archive("cars_test.tgz", "cars_test", "4ce7ebf6a94d07f1952d94dd34c4d501")
SPEC = DataSpec(
    name="stanford_cars",
    page="https://ai.stanford.edu/~jkrause/cars/car_dataset.html",
    archives=(TRAIN, TEST, DEVKIT, TEST_LABELS),
    num_classes=196,
    counts={"train": 8_144, "test": 8_041},
    per_class={},
)


def read(places: dict[str, Path], part: bool) -> Contents:
    devkit = places[DEVKIT.file]
    meta, of_training = contents(devkit, "devkit/cars_meta.mat", "devkit/cars_train_annos.mat")
    (of_test,) = contents(places[TEST_LABELS.file], TEST_LABELS.file)
    (names,) = matlab_table(meta, f"{devkit}, cars_meta.mat", "class_names")
    classes = tuple(str(name) for name in names)
    folders = tuple(f"{label + 1:03d}.{name.replace('/', '-').replace(' ', '_')}" for label, name in enumerate(classes))
    tables = {
        "train": (of_training, f"{devkit}, cars_train_annos.mat"),
        "test": (of_test, str(places[TEST_LABELS.file])),
    }
    wanted = {}
    for split, (table, title) in tables.items():
        (rows,) = matlab_table(table, title, "annotations")
        wanted[split] = {f"cars_{split}/{row['fname']}": int(row["class"]) - 1 for row in rows}
    return Contents(classes, folders, _files(places, wanted, folders, part))


def _files(
    places: dict[str, Path], wanted: dict[str, dict[str, int]], folders: tuple[str, ...], part: bool
) -> Iterator[File]:
    for split, archive in (("train", TRAIN), ("test", TEST)):
        for path, content in images(places[archive.file], wanted[split], part):
            label = wanted[split][path]
            yield File(split, f"{split}/{folders[label]}/{path.rsplit('/', 1)[1]}", content, 1, (label,))


PREPARATION = Preparation(SPEC, read)
