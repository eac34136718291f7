"""Accuracy over the classes with many, some and few training images, as long-tailed sets are reported."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from sosr_timm.metrics.confusion import ClassCounts

# Of Liu et al. 2019, arXiv 1904.05160, and the long-tailed experiments of MaxSup.
MANY, FEW = 100, 20
GROUPS = ("many", "medium", "few")
GROUP_METRICS = tuple(f"top1_{name}" for name in GROUPS)  # as `MetricTable` calls them


def class_groups(sizes: Sequence[int]) -> dict[str, np.ndarray]:
    """Which classes have many, some and few training images: (K,) booleans for `many`, `medium` and `few`.

    Args:
        sizes: training images of each class.
    """
    size = np.asarray(sizes)
    return {"many": size > MANY, "medium": (size >= FEW) & (size <= MANY), "few": size < FEW}


def accuracy_by_shots(counts: ClassCounts, sizes: Sequence[int]) -> dict[str, dict[str, float | int | None]]:
    """Top-1 accuracy of the evaluation images of three groups of classes.

    Args:
        counts: of the evaluation.
        sizes: training images of each class.

    Returns:
        for `many` (more than 100 training images), `few` (fewer than 20) and `medium` (the others): `classes`, `count`
        (evaluation images) and `top1` in percent, None for a group without images.
    """
    found: dict[str, dict[str, float | int | None]] = {}
    for name, member in class_groups(sizes).items():
        count, right = int(counts.count[member].sum()), int(counts.right[member].sum())
        found[name] = {"classes": int(member.sum()), "count": count, "top1": 100 * right / count if count else None}
    return found
