"""Data sets by name: the embedded ones, and whatever timm can read."""

from __future__ import annotations

import gzip
from pathlib import Path

import numpy as np

from sosr_timm.data.folder import open_folder
from sosr_timm.data.source import ArraySource, ImageSource, PairSource, ReaderSource, SourceInfo
from sosr_timm.errors import UserError
from sosr_timm.registry import Registry

DATASETS: Registry = Registry("data set")
TRAIN_SPLITS = ("train", "training")
EVALUATION_SPLITS = ("validation", "val", "valid", "eval", "evaluation", "test")

FASHION_MNIST_SYSTEM_FOLDER = Path("/usr/share/datasets/fashion-mnist")


def is_training_split(split: str, dataset: str) -> bool:
    """Whether a split's name means the training part.

    Raises:
        UserError: it means neither part.
    """
    if split not in TRAIN_SPLITS + EVALUATION_SPLITS:
        raise UserError(f"data set '{dataset}' has the splits train and validation, not '{split}'")
    return split in TRAIN_SPLITS


@DATASETS.register("digits")
def digits(split: str, root: str | None, download: bool) -> ImageSource:
    """scikit-learn's 1,797 grey images of 8 x 8 pixels; every fifth image is held out for evaluation."""
    from sklearn.datasets import load_digits

    data = load_digits()
    held_out = np.arange(len(data.target)) % 5 == 4
    part = ~held_out if is_training_split(split, "digits") else held_out
    # The set stores 0..16; eight-bit images hold 0..255.
    images = np.rint(data.images[part] * (255 / 16)).astype(np.uint8)
    names = tuple(str(digit) for digit in range(10))
    info = SourceInfo(10, 1, 8, (0.3059,), (0.3763,), names)
    return ArraySource(images, data.target[part], info, f"digits {split}")


@DATASETS.register("fashion_mnist")
def fashion_mnist(split: str, root: str | None, download: bool) -> ImageSource:
    """Fashion-MNIST (Xiao et al. 2017, arXiv 1708.07747): 60,000 + 10,000 grey images of 28 x 28 pixels.

    Looked for in Debian's package `dataset-fashion-mnist`, then in `root`, then downloaded through torchvision.
    """
    part = "train" if is_training_split(split, "fashion_mnist") else "t10k"
    folder = _fashion_mnist_folder(root, download)
    images = _read_idx(folder, f"{part}-images-idx3-ubyte")
    labels = _read_idx(folder, f"{part}-labels-idx1-ubyte")
    if len(images) != len(labels):
        raise UserError(f"{folder}: {len(images)} images but {len(labels)} labels in '{part}'")
    names = (
        *("T-shirt/top", "Trouser", "Pullover", "Dress", "Coat"),
        *("Sandal", "Shirt", "Sneaker", "Bag", "Ankle boot"),
    )
    info = SourceInfo(10, 1, 28, (0.2860,), (0.3530,), names)
    return ArraySource(images, labels, info, f"fashion_mnist {split}")


def _fashion_mnist_folder(root: str | None, download: bool) -> Path:
    wanted = "train-images-idx3-ubyte"
    candidates = [Path(root), Path(root) / "FashionMNIST" / "raw"] if root else [FASHION_MNIST_SYSTEM_FOLDER]
    for folder in candidates:
        if (folder / f"{wanted}.gz").is_file() or (folder / wanted).is_file():
            return folder
    if download:
        from torchvision.datasets import FashionMNIST

        target = Path(root or "data")
        try:
            FashionMNIST(str(target), download=True)
        except (OSError, RuntimeError) as error:
            raise UserError(f"fashion_mnist: the download into {target} failed ({error})") from None
        return target / "FashionMNIST" / "raw"
    raise UserError(
        f"fashion_mnist: {wanted}.gz is not in {candidates[0]}; install Debian's package dataset-fashion-mnist, "
        "name its folder with --data-dir, or add --dataset-download"
    )


def _read_idx(folder: Path, name: str) -> np.ndarray:
    """An array from a file in IDX format, gzipped or not.

    Raises:
        UserError: the file is missing, damaged or not IDX.
    """
    path = folder / f"{name}.gz"
    path = path if path.is_file() else folder / name
    try:
        content = gzip.decompress(path.read_bytes()) if path.suffix == ".gz" else path.read_bytes()
    except (OSError, EOFError) as error:
        raise UserError(f"{path}: cannot be read ({error})") from None
    dimensions = content[3] if len(content) > 3 else 0
    header = 4 + 4 * dimensions
    shape = tuple(int.from_bytes(content[4 + 4 * axis : 8 + 4 * axis], "big") for axis in range(dimensions))
    if content[:3] != b"\x00\x00\x08" or len(content) != header + int(np.prod(shape, dtype=np.int64)):
        raise UserError(f"{path}: not a whole IDX file of bytes")
    return np.frombuffer(content, np.uint8, offset=header).reshape(shape)


def open_source(
    dataset: str,
    root: str | None,
    split: str,
    *,
    download: bool = False,
    class_map: str = "",
) -> ImageSource:
    """The images of a split.

    Args:
        dataset: a name of ours ("digits", "fashion_mnist"), timm's "torch/NAME" or "hfds/NAME"; "" or "folder"
            for a folder of class folders.
        root: folder of the data.
        split: "train", "validation" or one of their synonyms, or a folder's name.
        download: let torchvision fetch what is missing.
        class_map: text file from class folder to index.

    Raises:
        UserError: an unknown name, no such folder, no images in it.
    """
    if dataset in DATASETS:
        return DATASETS[dataset](split, root, download)
    prefix = dataset.partition("/")[0].lower()
    if dataset in ("", "folder"):
        return open_folder(root, split, class_map)
    if prefix in ("torch", "hfds"):
        return _open_with_timm(dataset, root, split, download, class_map)
    if prefix in ("hfids", "tfds", "wds"):
        raise UserError(
            f"data set '{dataset}': streams have no fixed order, so a run on one could not be resumed exactly; "
            "use hfds/NAME or a folder"
        )
    try:
        DATASETS[dataset]
    except ValueError as error:
        raise UserError(f"{error} (or a folder with --data-dir, timm's torch/NAME, hfds/NAME)") from None
    raise AssertionError("a registered name was not found")


def _open_with_timm(dataset: str, root: str | None, split: str, download: bool, class_map: str) -> ImageSource:
    from timm.data import create_dataset

    try:
        found = create_dataset(
            dataset,
            root=root or "data",
            split=split,
            download=download,
            class_map=class_map or None,
            input_img_mode=None,
        )
    except (AssertionError, ImportError, KeyError, OSError, RuntimeError, ValueError) as error:
        hint = "" if download else "; --dataset-download lets torchvision fetch it"
        raise UserError(f"data set '{dataset}' in {root or 'data'}: {error}{hint}".replace("\n", " ")) from None
    classes = getattr(found, "classes", None)
    info = SourceInfo(num_classes=len(classes) if classes else None, class_names=tuple(classes) if classes else None)
    reader = getattr(found, "reader", None)
    return ReaderSource(reader, info, str(root)) if reader is not None else PairSource(found, info, dataset)
