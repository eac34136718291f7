"""Small archives laid out like the official ones, of the papers' data sets."""

from __future__ import annotations

import dataclasses
import io
import tarfile
import zipfile
from pathlib import Path

import numpy as np
from scipy.io import savemat

from sosr_timm.data.prepare import aircraft, cifar, cub200, flowers102, imagenet, stanford_cars, tiny_imagenet, voc
from sosr_timm.data.prepare.spec import Archive, Preparation
from tests.data.images import picture


def jpeg(seed: int, size=(12, 10)) -> bytes:
    file = io.BytesIO()
    picture(seed, size).save(file, "JPEG")
    return file.getvalue()


def tar(path: Path, files: dict[str, bytes]) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_bytes(tar_bytes(files, "w:gz" if path.suffix in (".gz", ".tgz") else "w"))


def tar_bytes(files: dict[str, bytes], mode="w") -> bytes:
    packed = io.BytesIO()
    with tarfile.open(fileobj=packed, mode=mode) as archive:
        for name, content in files.items():
            info = tarfile.TarInfo(name)
            info.size = len(content)
            archive.addfile(info, io.BytesIO(content))
    return packed.getvalue()


def mat(**variables) -> bytes:
    file = io.BytesIO()
    savemat(file, variables)
    return file.getvalue()


def cifar_rows(labels: list[int], hundred: bool, seed: int) -> bytes:
    pixels = np.random.default_rng(seed).integers(0, 256, (len(labels), cifar.PIXELS), dtype=np.uint8)
    heads = [[label // 5, label] if hundred else [label] for label in labels]
    return np.concatenate([np.array(heads, dtype=np.uint8), pixels], axis=1).tobytes()


def cifar10(folder: Path, each: int = 1) -> None:
    labels = list(range(10)) * each
    files = {f"cifar-10-batches-bin/data_batch_{n}.bin": cifar_rows(labels, False, n) for n in range(1, 6)}
    files["cifar-10-batches-bin/test_batch.bin"] = cifar_rows(labels[:10], False, 6)
    files["cifar-10-batches-bin/batches.meta.txt"] = "".join(f"kind{n}\n" for n in labels[:10]).encode() + b"\n"
    tar(folder / "cifar-10-binary.tar.gz", files)


def cifar100(folder: Path, each: int = 1) -> None:
    labels = list(range(100)) * each
    top = "cifar-100-binary"
    files = {
        f"{top}/train.bin": cifar_rows(labels, True, 1),
        f"{top}/test.bin": cifar_rows(labels[:100], True, 2),
        f"{top}/fine_label_names.txt": "".join(f"kind{n}\n" for n in range(100)).encode(),
        f"{top}/coarse_label_names.txt": b"group\n" * 20,
    }
    tar(folder / "cifar-100-binary.tar.gz", files)


WNIDS = ("n02", "n01", "n03")


def tiny(folder: Path) -> None:
    top = "tiny-imagenet-200"
    files = {
        f"{top}/wnids.txt": "\n".join(WNIDS).encode(),
        f"{top}/words.txt": b"n01\tfish\nn02\tcat, animal\nn99\tx\n",
    }
    lines = []
    for place, name in enumerate(WNIDS):
        files[f"{top}/train/{name}/{name}_boxes.txt"] = b"0 0 1 1"
        for image in range(2):
            files[f"{top}/train/{name}/images/{name}_{image}.JPEG"] = jpeg(10 * place + image, (64, 64))
        files[f"{top}/val/images/val_{place}.JPEG"] = jpeg(100 + place, (64, 64))
        lines.append(f"val_{place}.JPEG\t{name}\t0\t0\t62\t62\n")
    files[f"{top}/val/val_annotations.txt"] = "".join(lines).encode()
    files[f"{top}/test/images/test_0.JPEG"] = jpeg(0)
    folder.mkdir(parents=True, exist_ok=True)
    with zipfile.ZipFile(folder / "tiny-imagenet-200.zip", "w", zipfile.ZIP_DEFLATED) as archive:
        archive.mkdir(f"{top}/") if hasattr(archive, "mkdir") else None
        for name, content in files.items():
            archive.writestr(name, content)


def imagenet_2012(folder: Path) -> None:
    fields = [("ILSVRC2012_ID", object), ("WNID", object), ("words", object), ("num_children", object)]
    rows = [(1, "n02", "cat, animal", 0), (2, "n01", "fish", 0), (3, "n00", "thing", 2)]
    top = "ILSVRC2012_devkit_t12/data"
    tar(
        folder / "ILSVRC2012_devkit_t12.tar.gz",
        {
            f"{top}/meta.mat": mat(synsets=np.array(rows, dtype=fields)),
            f"{top}/ILSVRC2012_validation_ground_truth.txt": b"2\n1\n1\n2\n",
        },
    )
    tar(
        folder / "ILSVRC2012_img_train.tar",
        {f"{name}.tar": tar_bytes({f"{name}_{n}.JPEG": jpeg(n) for n in range(3)}) for name in ("n02", "n01")},
    )
    tar(folder / "ILSVRC2012_img_val.tar", {f"ILSVRC2012_val_{n:08d}.JPEG": jpeg(50 + n) for n in (3, 1, 2, 4)})


def cub(folder: Path) -> None:
    names = ["001.Black_footed_Albatross", "002.Laysan_Albatross"]
    listed = [(number, f"{names[number % 2]}/bird_{number}.jpg") for number in range(1, 7)]
    top = "CUB_200_2011"
    files = {"attributes.txt": b"", **{f"{top}/images/{file}": jpeg(number) for number, file in listed}}
    files[f"{top}/images.txt"] = "".join(f"{number} {file}\n" for number, file in listed).encode()
    files[f"{top}/image_class_labels.txt"] = "".join(f"{n} {n % 2 + 1}\n" for n, _ in listed).encode()
    files[f"{top}/train_test_split.txt"] = "".join(f"{n} {int(n > 2)}\n" for n, _ in listed).encode()
    files[f"{top}/classes.txt"] = "".join(f"{n} {name}\n" for n, name in enumerate(names, 1)).encode()
    tar(folder / "CUB_200_2011.tgz", files)


def cars(folder: Path) -> None:
    fields = [("bbox_x1", object), ("class", object), ("fname", object)]
    names = np.array(["AM General Hummer SUV 2000", "Ram C/V Cargo Van Minivan 2012"], dtype=object)
    annotations = {
        split: np.array([(1, n % 2 + 1, f"{n:05d}.jpg") for n in range(1, count + 1)], dtype=fields)
        for split, count in (("train", 4), ("test", 2))
    }
    tar(
        folder / "car_devkit.tgz",
        {
            "devkit/cars_meta.mat": mat(class_names=names),
            "devkit/cars_train_annos.mat": mat(annotations=annotations["train"]),
            "devkit/README.txt": b"",
        },
    )
    (folder / "cars_test_annos_withlabels.mat").write_bytes(mat(annotations=annotations["test"]))
    for split, count in (("train", 4), ("test", 2)):
        tar(folder / f"cars_{split}.tgz", {f"cars_{split}/{n:05d}.jpg": jpeg(n) for n in range(1, count + 1)})


def flowers(folder: Path) -> None:
    tar(folder / "102flowers.tgz", {f"jpg/image_{n:05d}.jpg": jpeg(n) for n in range(1, 9)})
    (folder / "imagelabels.mat").write_bytes(mat(labels=np.array([1, 2, 1, 2, 1, 2, 1, 2], dtype=np.uint8)))
    (folder / "setid.mat").write_bytes(mat(trnid=np.array([1, 2]), valid=np.array([3, 4]), tstid=np.arange(5, 9)))


def planes(folder: Path) -> None:
    top = "fgvc-aircraft-2013b/data"
    variants = ["Boeing 707-320", "F/A-18"]
    splits = {"train": (1, 2, 3), "val": (4, 5), "test": (6, 7)}
    files = {f"{top}/images/{n:07d}.jpg": jpeg(n) for n in range(1, 8)}
    files[f"{top}/variants.txt"] = "\n".join(variants).encode()
    for split, numbers in splits.items():
        files[f"{top}/images_variant_{split}.txt"] = "".join(f"{n:07d} {variants[n % 2]}\n" for n in numbers).encode()
    tar(folder / "fgvc-aircraft-2013b.tar.gz", files)


def pascal(folder: Path) -> None:
    for split, (_, year, image_set) in voc.PARTS.items():
        top = f"VOCdevkit/VOC{year}"
        names = [f"{image_set}_{year}_{n}" for n in range(2)]
        files = {f"{top}/ImageSets/Main/{image_set}.txt": "\n".join(names).encode()}
        files[f"{top}/ImageSets/Main/cat_{image_set}.txt"] = "".join(f"{name}  1\n" for name in names).encode()
        files[f"{top}/ImageSets/Segmentation/{image_set}.txt"] = b"unused"
        for seed, name in enumerate(names):
            files[f"{top}/JPEGImages/{name}.jpg"] = jpeg(seed)
            box = "<bndbox><xmin>1</xmin><ymin>2</ymin><xmax>5</xmax><ymax>6</ymax></bndbox>"
            files[f"{top}/Annotations/{name}.xml"] = (
                f"<annotation><object><name>cat</name>{box}</object></annotation>".encode()
            )
        tar(folder / voc._archive(split).file, files)


# How each is built, its recipe, and the counts of the small one.
SMALL = {
    "cifar10": (cifar10, cifar.CIFAR10_PREPARATION, 10, {"train": 50, "test": 10}),
    "cifar100": (cifar100, cifar.CIFAR100_PREPARATION, 100, {"train": 100, "test": 100}),
    "tiny_imagenet": (tiny, tiny_imagenet.PREPARATION, 3, {"train": 6, "val": 3}),
    "imagenet": (imagenet_2012, imagenet.PREPARATION, 2, {"train": 6, "val": 4}),
    "cub200": (cub, cub200.PREPARATION, 2, {"train": 4, "test": 2}),
    "stanford_cars": (cars, stanford_cars.PREPARATION, 2, {"train": 4, "test": 2}),
    "flowers102": (flowers, flowers102.PREPARATION, 2, {"train": 2, "val": 2, "test": 4}),
    "aircraft": (planes, aircraft.PREPARATION, 2, {"train": 3, "val": 2, "test": 2}),
    "voc": (pascal, voc.PREPARATION, 20, {"2007_trainval": 2, "2007_test": 2, "2012_trainval": 2}),
}


def small(name: str, folder: Path, each: int = 1) -> Preparation:
    """Build a data set's archives in a folder; returns its recipe with the counts of the small one, without MD5s.

    Args:
        name: of the data set.
        folder: of the archives.
        each: of the CIFAR sets, how many times the small training set.
    """
    folder.mkdir(parents=True, exist_ok=True)
    build, preparation, num_classes, counts = SMALL[name]
    build(folder, **({"each": each} if each > 1 else {}))
    counts = counts | {"train": each * counts["train"]} if each > 1 else counts
    archives = tuple(Archive(archive.file, archive.inside) for archive in preparation.spec.archives)
    per_class = {split: counts[split] // num_classes for split in preparation.spec.per_class}
    spec = dataclasses.replace(
        preparation.spec, archives=archives, num_classes=num_classes, counts=dict(counts), per_class=per_class
    )
    return dataclasses.replace(preparation, spec=spec)
