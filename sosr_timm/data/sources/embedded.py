"""Data sets that come with a package: scikit-learn's digits, and Debian's Fashion-MNIST."""

from __future__ import annotations

import gzip
import zlib
from pathlib import Path

import numpy as np

from sosr_timm.data.sources.names import DATASETS, is_training_split
from sosr_timm.data.sources.source import ArraySource, ImageSource, SourceInfo
from sosr_timm.errors import UserError
from sosr_timm.extras import import_extra

WITHOUT_FILES = ("digits",)  # data sets that are part of a Python package, so that no directory is read
FASHION_MNIST_SYSTEM_FOLDER = Path("/usr/share/datasets/fashion-mnist")


def unread_directory(dataset: str | None, directory: str | None) -> list[str]:
    """What to tell a user who names a directory beside a data set that has no files: one line, or none."""
    if dataset not in WITHOUT_FILES or not directory:
        return []
    return [f"warning: {directory} is not read: --dataset {dataset} has no files"]


@DATASETS.register("digits")
def digits(split: str, root: str | None, download: bool) -> ImageSource:
    """scikit-learn's 1,797 grey images of 8 x 8 pixels; every fifth image is held out for evaluation."""
    data = import_extra("sklearn.datasets", "digits", "--dataset digits").load_digits()
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

    Read from `root` (plain files or torchvision's layout), or without a `root` from Debian's package
    `dataset-fashion-mnist`; otherwise `download` lets torchvision fetch it.
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
        "name its directory with --data-dir, or add --dataset-download"
    )


def read_idx(folder: Path, name: str) -> np.ndarray:
    """The bytes of `folder/name.gz` or `folder/name`, in the shape that the file's header states.

    Raises:
        UserError: the file is missing, damaged or not IDX.
    """
    path = folder / f"{name}.gz"
    path = path if path.is_file() else folder / name
    try:
        content = gzip.decompress(path.read_bytes()) if path.suffix == ".gz" else path.read_bytes()
    except (OSError, EOFError, zlib.error) as error:
        raise UserError(f"{path}: cannot be read ({error})") from None
    dimensions = content[3] if len(content) > 3 else 0
    header = 4 + 4 * dimensions
    shape = tuple(int.from_bytes(content[4 + 4 * axis : 8 + 4 * axis], "big") for axis in range(dimensions))
    if content[:3] != b"\x00\x00\x08" or len(content) != header + int(np.prod(shape, dtype=object)):
        raise UserError(f"{path}: not a complete IDX file of bytes")
    return np.frombuffer(content, np.uint8, offset=header).reshape(shape)
