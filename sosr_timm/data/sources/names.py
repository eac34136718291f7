"""The registry of data sets by name, and what the names of their splits mean."""

from __future__ import annotations

from collections.abc import Callable, Iterable

from timm.utils import natural_key

from sosr_timm.data.sources.source import ImageSource
from sosr_timm.errors import UserError
from sosr_timm.registry import Registry

# name -> function of (split, root, download)
DATASETS: Registry[Callable[[str, str | None, bool], ImageSource]] = Registry("data set")
TRAIN_SPLITS = ("train", "training")
EVALUATION_SPLITS = ("validation", "val", "valid", "eval", "evaluation", "test")


def is_training_split(split: str, dataset: str) -> bool:
    """Whether a split's name means the training part.

    Raises:
        UserError: it means neither part.
    """
    if split not in TRAIN_SPLITS + EVALUATION_SPLITS:
        raise UserError(f"data set '{dataset}' has the splits train and validation, not '{split}'")
    return split in TRAIN_SPLITS


def official_splits(split: str, dataset: str, splits: tuple[str, ...]) -> tuple[str, ...]:
    """The official parts that a split's name means.

    Args:
        split: as asked for.
        dataset: name, for messages.
        splits: the official parts: train and one for evaluation, or train, val and test.

    Returns:
        one part, or train and val for "trainval" where there is a test part beside them.

    Raises:
        UserError: none of that name.
    """
    three = len(splits) == 3
    if split in TRAIN_SPLITS:
        return ("train",)
    if three and split in ("test", "trainval"):
        return ("test",) if split == "test" else ("train", "val")
    if split in EVALUATION_SPLITS:
        return ("val",) if three else splits[1:]
    known = "train, validation, test and trainval (the first two)" if three else "train and validation"
    raise UserError(f"data set '{dataset}' has the splits {known}, not '{split}'")


def sort_classes(names: Iterable[str]) -> list[str]:
    """Class names in the order of their numbers: natural, as timm sorts class directories ("9" before "10")."""
    return sorted(set(names), key=lambda name: (natural_key(name), name))
