"""ImageNet's reassessed labels, ReaL: any number of right classes for each validation image (arXiv 2006.07159)."""

from __future__ import annotations

import json
import re
from collections.abc import Sequence
from pathlib import Path

import numpy as np

from sosr_timm.errors import UserError

_NUMBER = re.compile(r"_val_(\d{8})\.[A-Za-z]+$")


def read_real_labels(path: str, names: Sequence[str], num_classes: int) -> list[frozenset[int]]:
    """The right classes of each image.

    Args:
        path: of the JSON file, a list of lists: entry i - 1 holds the classes of `ILSVRC2012_val_` i in eight digits.
        names: of the images, with or without their directories.
        num_classes: of the model.

    Returns:
        for each name a set; an empty one means that no class fits and the image does not count.

    Raises:
        UserError: no such file, no such list in it, a class that the model does not have, or an image that is not
            ImageNet's.
    """
    try:
        content = json.loads(Path(path).read_text(encoding="utf-8"))
    except FileNotFoundError:
        raise UserError(f"--real-labels {path}: no such file") from None
    except (OSError, ValueError, RecursionError) as error:
        raise UserError(f"--real-labels {path}: not JSON ({error})") from None
    if not isinstance(content, list):
        raise UserError(f"--real-labels {path} holds a {type(content).__name__}, not a list")
    for position, classes in enumerate(content):
        fits = isinstance(classes, list) and all(type(index) is int and 0 <= index < num_classes for index in classes)
        if not fits:
            raise UserError(
                f"--real-labels {path}, entry {position}: {str(classes)[:60]} is not a list of classes from 0 to "
                f"{num_classes - 1}"
            )
    found = []
    for name in names:
        number = _NUMBER.search(name)
        position = int(number[1]) - 1 if number else -1
        if not 0 <= position < len(content):
            raise UserError(
                f"--real-labels: {name} is not in the file, which has ILSVRC2012_val_00000001 to "
                f"ILSVRC2012_val_{len(content):08d}"
            )
        found.append(frozenset(content[position]))
    return found


def real_accuracy(guesses: np.ndarray, real: Sequence[frozenset[int]]) -> dict[str, float]:
    """Accuracy on the reassessed labels: a guess is right where it is among the image's classes.

    Args:
        guesses: (N, k) integers, the best first.
        real: N sets of classes; images whose set is empty do not count.

    Returns:
        `top1` and `top5` (of the k guesses) in percent, and `count` of the images that have a class.

    Raises:
        UserError: no image has a class.
    """
    rows = [(row, classes) for row, classes in zip(guesses.tolist(), real, strict=True) if classes]
    if not rows:
        raise UserError("--real-labels: none of the images has a label")
    first = sum(row[0] in classes for row, classes in rows)
    among = sum(not classes.isdisjoint(row) for row, classes in rows)
    return {"top1": 100.0 * first / len(rows), "top5": 100.0 * among / len(rows), "count": len(rows)}
