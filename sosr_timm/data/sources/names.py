"""Names: the registry of data sets, what the names of splits mean, the order of class names."""

from __future__ import annotations

from collections.abc import Callable, Collection, Iterable

from timm.utils import natural_key

from sosr_timm.data.sources.source import ImageSource
from sosr_timm.errors import UserError
from sosr_timm.registry import Registry

# name -> function of (split, root, download)
DATASETS: Registry[Callable[[str, str | None, bool], ImageSource]] = Registry("data set")
TRAIN_SPLITS = ("train", "training")
EVALUATION_SPLITS = ("validation", "val", "valid", "eval", "evaluation", "test")
TABLES = (".csv", ".tsv", ".parquet")  # file endings of tables of paths and labels


def synonyms(split: str) -> tuple[str, ...]:
    """The names that a split may have, the most fitting one first.

    "validation" also finds a part that is called "test". "test" finds no other.
    """
    groups = (TRAIN_SPLITS, ("test",), EVALUATION_SPLITS)
    return (split, *next((group for group in groups if split in group), ()))


def match_split(split: str, there: Collection[str]) -> str | None:
    """Which of the names of splits that are there means `split`; None where none does."""
    return next((name for name in synonyms(split) if name in there), None)


def have_splits(names: Iterable[str]) -> bool:
    """Whether one of these names is that of a split."""
    return not {*TRAIN_SPLITS, *EVALUATION_SPLITS}.isdisjoint(names)


def no_such_split(where: str, split: str, there: Iterable[str]) -> UserError:
    """The error of a data set that has splits, but not this one."""
    names = list(dict.fromkeys(synonyms(split)))
    return UserError(f"{where} has no split '{split}' ({' or '.join(names)}); it has {', '.join(sorted(there))}")


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
