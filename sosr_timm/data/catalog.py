"""Data sets by name: the embedded ones, the papers', and whatever timm can read."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from sosr_timm.data import embedded, paper_sets  # noqa: F401 - registers the data sets
from sosr_timm.data.class_map import read_class_map
from sosr_timm.data.folder import find_split, open_folder
from sosr_timm.data.named import DATASETS, is_training_split
from sosr_timm.data.source import ImageSource, PairSource, ReaderSource, SourceInfo
from sosr_timm.errors import UserError

# timm reads their evaluation part for every name but train and training, a mistyped one too.
TORCHVISION_WITH_TWO_SPLITS = ("cifar10", "cifar100", "mnist", "kmnist", "qmnist", "fashion_mnist")


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
        dataset: a name of ours ("digits", "cifar100"), timm's "torch/NAME" or "hfds/NAME"; "" or "folder"
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
