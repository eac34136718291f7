"""The papers' data sets by name: prepared, in torchvision's layouts, or as class directories of official size."""

from __future__ import annotations

import dataclasses
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np

from sosr_timm.data.prepare.cifar import HUNDRED, TEN, class_names, decode
from sosr_timm.data.prepare.manifest import Manifest, check_listing, read_manifest
from sosr_timm.data.prepare.preparations import PREPARATIONS
from sosr_timm.data.prepare.sources import how_to_get
from sosr_timm.data.prepare.spec import DataSpec
from sosr_timm.data.sources.names import DATASETS, official_splits
from sosr_timm.data.sources.paths import open_path
from sosr_timm.data.sources.source import ArraySource, ImageSource, Joined, PairSource, ReaderSource, SourceInfo
from sosr_timm.errors import UserError, one_line

CIFAR = {"cifar10": TEN, "cifar100": HUNDRED}
# The SOSR authors normalise both sets with these.
CIFAR_MEAN, CIFAR_STD = (0.4914, 0.4822, 0.4465), (0.2023, 0.1994, 0.2010)
KNOWN = {
    "cifar10": SourceInfo(10, 3, 32, CIFAR_MEAN, CIFAR_STD),
    "cifar100": SourceInfo(100, 3, 32, CIFAR_MEAN, CIFAR_STD),
    "tiny_imagenet": SourceInfo(200, 3, 64, (0.4802, 0.4481, 0.3975), (0.2770, 0.2691, 0.2821)),
}
# torchvision's class, the directory that it looks for, and how it is told the split.
TORCHVISION = {
    "cifar10": ("CIFAR10", "cifar-10-batches-py"),
    "cifar100": ("CIFAR100", "cifar-100-python"),
    "flowers102": ("Flowers102", "flowers-102"),
    "stanford_cars": ("StanfordCars", "stanford_cars"),
    "aircraft": ("FGVCAircraft", "fgvc-aircraft-2013b"),
}


def open_paper_set(name: str, split: str, root: str | None, download: bool) -> ImageSource:
    """A data set by name.

    Args:
        name: of the data set.
        split: "train", "validation" or one of their synonyms; "trainval" where there are three parts.
        root: prepared directory, directory that torchvision's class reads, or class directories.
        download: let torchvision fetch what it can.

    Raises:
        UserError: nothing of it there (with what to do), another data set, or other counts than the official ones.
    """
    spec = PREPARATIONS[name].spec
    parts = official_splits(split, name, tuple(spec.counts))
    folder = Path(root or "data")
    if not download and not folder.is_dir():
        where = f"directory {folder} does not exist" if root else "name its directory with --data-dir"
        raise UserError(f"{name}: {where}; {how_to_get(spec)}")
    sources = [_open_part(spec, folder, part, download) for part in parts]
    return sources[0] if len(sources) == 1 else Joined(sources)


def _open_part(spec: DataSpec, folder: Path, part: str, download: bool) -> ImageSource:
    manifest = read_manifest(folder)
    if manifest is not None:
        return _open_prepared(spec, manifest, part)
    source = _open_unprepared(spec, folder, part, download)
    classes = source.info.num_classes
    if classes != spec.num_classes or len(source) != spec.counts[part]:
        raise UserError(
            f"{folder} has {len(source):,} images of {classes} classes in {part}; {spec.name} has "
            f"{spec.counts[part]:,} of {spec.num_classes} (without --dataset a directory may hold any)"
        )
    return source


def _open_prepared(spec: DataSpec, manifest: Manifest, part: str) -> ImageSource:
    if manifest.name != spec.name:
        raise UserError(f"{manifest.root} was prepared as {manifest.name}, not as {spec.name}")
    if part not in manifest.splits:
        raise UserError(f"{manifest.root} has no images of {part}; prepare {spec.name} again")
    check_listing(manifest, part)
    info = dataclasses.replace(
        KNOWN.get(spec.name, SourceInfo()),
        num_classes=len(manifest.classes),
        class_names=manifest.classes,
        origin=manifest.origin(),
    )
    if spec.name in CIFAR:
        return _open_cifar(spec.name, manifest.root, part, info)
    return _open_class_folders(manifest.root / part, manifest.folders, info)


def _open_class_folders(folder: Path, names: tuple[str, ...], info: SourceInfo) -> ImageSource:
    from timm.data import create_dataset

    numbers = {name: label for label, name in enumerate(names)}
    try:
        reader = create_dataset("", str(folder), search_split=False, class_map=numbers, input_img_mode=None).reader
    except (OSError, RuntimeError) as error:
        raise UserError(f"data directory {folder}: {one_line(error)}") from None
    return ReaderSource(reader, info)


def _open_cifar(name: str, folder: Path, part: str, info: SourceInfo) -> ImageSource:
    layout = CIFAR[name]
    try:
        names = class_names((folder / layout.names).read_text(encoding="utf-8"))
        contents = [(folder / file).read_bytes() for file in layout.parts[part]]
    except (OSError, ValueError) as error:
        raise UserError(f"{name}: {folder} cannot be read ({error})") from None
    pieces = [
        decode(content, layout, len(names), str(folder / file))
        for file, content in zip(layout.parts[part], contents, strict=True)
    ]
    images, labels = (np.concatenate(arrays) for arrays in zip(*pieces, strict=True))
    info = dataclasses.replace(info, num_classes=len(names), class_names=names)
    return ArraySource(images, labels, info, f"{name} {part}")


def _open_unprepared(spec: DataSpec, folder: Path, part: str, download: bool) -> ImageSource:
    if spec.name in CIFAR:
        for place in (folder, folder / CIFAR[spec.name].folder):
            if (place / CIFAR[spec.name].names).is_file():
                return _open_cifar(spec.name, place, part, KNOWN[spec.name])
    if spec.name in TORCHVISION and (download or (folder / TORCHVISION[spec.name][1]).is_dir()):
        return _open_with_torchvision(spec, folder, part, download)
    if spec.name not in CIFAR and any(path.is_dir() for path in folder.iterdir()):
        source = open_path(str(folder), part)
        source.info = dataclasses.replace(KNOWN.get(spec.name, SourceInfo()), **_classes(source.info))
        return source
    raise UserError(f"{spec.name}: no files of it in {folder}; {how_to_get(spec)}")


def _classes(info: SourceInfo) -> dict[str, Any]:
    return {"num_classes": info.num_classes, "class_names": info.class_names}


def _open_with_torchvision(spec: DataSpec, folder: Path, part: str, download: bool) -> ImageSource:
    """Through torchvision, which reads CIFAR's pickles only where their MD5 is the official one."""
    from torchvision import datasets

    kind = getattr(datasets, TORCHVISION[spec.name][0])
    which = {"train": part == "train"} if spec.name in CIFAR else {"split": part}
    try:
        pairs = kind(str(folder), download=download, **which)
    except (OSError, RuntimeError, ValueError) as error:
        raise UserError(f"{spec.name} in {folder}: {one_line(error)}; {how_to_get(spec)}") from None
    classes = tuple(getattr(pairs, "classes", ())) or None
    info = KNOWN.get(spec.name, SourceInfo())
    info = dataclasses.replace(info, num_classes=spec.num_classes, class_names=classes)
    return PairSource(pairs, info, f"{spec.name} {part}")


def _refuse_voc(split: str, root: str | None, download: bool) -> ImageSource:
    raise UserError("data set 'voc' is for detection: its images have several labels each")


for _name, _preparation in PREPARATIONS.items():
    if _preparation.spec.archives:  # the others have a module of their own
        DATASETS.register(_name)(_refuse_voc if _name == "voc" else partial(open_paper_set, _name))
