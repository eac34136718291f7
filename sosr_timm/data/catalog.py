"""Data sets by name: the embedded ones, and whatever timm can read."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np

from sosr_timm.data.class_map import read_class_map
from sosr_timm.data.folder import find_split, open_folder
from sosr_timm.data.idx import read_idx
from sosr_timm.data.source import ArraySource, ImageSource, PairSource, ReaderSource, SourceInfo
from sosr_timm.errors import UserError
from sosr_timm.registry import Registry

DATASETS: Registry = Registry("data set")
TRAIN_SPLITS = ("train", "training")
EVALUATION_SPLITS = ("validation", "val", "valid", "eval", "evaluation", "test")

# timm reads their evaluation part for every name but train and training, a mistyped one too.
TORCHVISION_WITH_TWO_SPLITS = ("cifar10", "cifar100", "mnist", "kmnist", "qmnist", "fashion_mnist")
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

    Looked for in `root` (as files or as torchvision lays them out), without a `root` in Debian's package
    `dataset-fashion-mnist`; what is not there may be downloaded through torchvision.
    """
    part = "train" if is_training_split(split, "fashion_mnist") else "t10k"
    folder = _fashion_mnist_folder(root, download)
    images = read_idx(folder, f"{part}-images-idx3-ubyte")
    labels = read_idx(folder, f"{part}-labels-idx1-ubyte")
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
    prefix, slash, _ = dataset.partition("/")
    prefix = prefix.lower() if slash else ""
    if dataset in ("", "folder"):
        return open_folder(root, split, class_map)
    if class_map and prefix != "hfds":
        raise UserError(f"--class-map is for folders of class folders; data set '{dataset}' numbers its own classes")
    if dataset in DATASETS:
        return DATASETS[dataset](split, root, download)
    if prefix == "torch":
        return _open_with_torchvision(dataset, root or "data", split, download)
    if prefix == "hfds":
        classes = read_class_map(class_map, Path(root or "data")) if class_map else None
        reader = _create_dataset(dataset, root or "data", split, download, class_map=classes).reader
        return ReaderSource(reader, SourceInfo())
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


def _open_with_torchvision(dataset: str, root: str, split: str, download: bool) -> ImageSource:
    name = dataset.partition("/")[2].lower()
    if name in TORCHVISION_WITH_TWO_SPLITS:
        split = "train" if is_training_split(split, dataset) else "validation"
    if name in ("folder", "image_folder"):
        root = str(find_split(Path(root), split))
    pairs = _create_dataset(dataset, root, split, download, search_split=False)
    classes = getattr(pairs, "classes", None)
    info = SourceInfo(num_classes=len(classes) if classes else None, class_names=tuple(classes) if classes else None)
    return PairSource(pairs, info, dataset)


def _create_dataset(dataset: str, root: str, split: str, download: bool, **arguments: Any) -> Any:
    from timm.data import create_dataset

    try:
        return create_dataset(dataset, root=root, split=split, download=download, input_img_mode=None, **arguments)
    except (AssertionError, ImportError, KeyError, OSError, RuntimeError, ValueError) as error:
        hint = "; --dataset-download lets torchvision fetch it" if type(error) is RuntimeError and not download else ""
        raise UserError(f"data set '{dataset}' in {root}: {error}{hint}") from None
