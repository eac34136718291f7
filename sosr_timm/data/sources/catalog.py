"""Data sets by name or path: the embedded ones, the papers', and what timm can read."""

from __future__ import annotations

from pathlib import Path

from sosr_timm.data.sources import embedded, glyphs, paper_sets  # noqa: F401 - registers the data sets
from sosr_timm.data.sources.class_map import read_class_map
from sosr_timm.data.sources.hugging_face import open_hugging_face
from sosr_timm.data.sources.litdata_source import open_litdata
from sosr_timm.data.sources.names import DATASETS, is_training_split
from sosr_timm.data.sources.paths import find_split, open_path
from sosr_timm.data.sources.reader_options import ReaderOptions, create_dataset
from sosr_timm.data.sources.shards import open_shards
from sosr_timm.data.sources.source import ImageSource, PairSource, SourceInfo
from sosr_timm.errors import UserError

# timm reads their evaluation part for every name but train and training, even for a mistyped one.
TORCHVISION_WITH_TWO_SPLITS = ("cifar10", "cifar100", "mnist", "kmnist", "qmnist", "fashion_mnist")
STREAMS = {
    "hfids": "hfds/NAME reads the same data sets by index",
    "tfds": "write its images into class directories, or a tar file of them, and name that with --data-dir",
}


def open_source(
    dataset: str,
    root: str | None,
    split: str,
    *,
    download: bool = False,
    class_map: str = "",
    reading: ReaderOptions | None = None,
) -> ImageSource:
    """The images of a split.

    Args:
        dataset: a name of ours ("digits", "cifar100"), timm's "torch/NAME", "hfds/NAME", "wds/" or "litdata/"; "" or
            "folder" for the images at `root`.
        root: path of the data.
        split: "train", "validation" or one of their synonyms, or another split's name.
        download: let torchvision fetch what is missing.
        class_map: text file from class directory to index.
        reading: which fields hold image and target, for sets that have several.

    Raises:
        UserError: an unknown name, a path that does not exist, or no images there.
    """
    prefix, slash, _ = dataset.partition("/")
    prefix = prefix.lower() if slash else ""
    reading = reading or ReaderOptions()
    if dataset in ("", "folder"):
        return open_path(root, split, class_map, reading)
    if prefix == "litdata":
        return open_litdata(root, split, class_map, reading)
    if prefix == "wds":
        return open_shards(root, split, class_map, reading)
    if class_map and prefix != "hfds":
        raise UserError(
            f"--class-map is for class directories, archives and tables; data set '{dataset}' numbers its own classes"
        )
    if prefix != "hfds":
        reading.refuse(dataset)
    if dataset in DATASETS:
        return DATASETS[dataset](split, root, download)
    if prefix == "torch":
        return _open_with_torchvision(dataset, root or "data", split, download)
    if prefix == "hfds":
        classes = read_class_map(class_map, Path(root or ".")) if class_map else None
        return open_hugging_face(dataset, root, split, classes, reading)
    if prefix in STREAMS:
        raise UserError(
            f"data set '{dataset}': streams have no fixed order, so a run on one could not be resumed exactly; "
            f"{STREAMS[prefix]}"
        )
    try:
        DATASETS[dataset]
    except ValueError as error:
        raise UserError(f"{error} (or a path with --data-dir, timm's torch/NAME, hfds/NAME, wds/, litdata/)") from None
    raise AssertionError("a registered name was not found")


def _open_with_torchvision(dataset: str, root: str, split: str, download: bool) -> ImageSource:
    name = dataset.partition("/")[2].lower()
    if name in TORCHVISION_WITH_TWO_SPLITS:
        split = "train" if is_training_split(split, dataset) else "validation"
    if name in ("folder", "image_folder"):
        root = str(find_split(Path(root), split))
    pairs = create_dataset(dataset, root, split, download, search_split=False)
    classes = getattr(pairs, "classes", None)
    info = SourceInfo(num_classes=len(classes) if classes else None, class_names=tuple(classes) if classes else None)
    return PairSource(pairs, info, dataset)
