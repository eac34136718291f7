"""Mean average precision of Pascal VOC, in both conventions, with difficult objects ignored (Everingham et al. 2010).

The rules are those of the development kit. Detections of a class are taken by falling score. Each is compared with the
object of its class that it overlaps most in its image: with an intersection over union of at least 0.5 it is a true
positive where that object was not detected before, and a false positive where it was. With a difficult object it counts
as neither; any other detection is a false positive. Difficult objects do not count in the recall either.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import NamedTuple

import numpy as np

IOU = 0.5
POINTS = 11


class Objects(NamedTuple):
    """The objects of an image: boxes (n, 4) as left, top, right, bottom; labels (n,); difficult (n,) bool."""

    boxes: np.ndarray
    labels: np.ndarray
    difficult: np.ndarray


class Detections(NamedTuple):
    """The detections in an image: boxes (n, 4), labels (n,), scores (n,)."""

    boxes: np.ndarray
    labels: np.ndarray
    scores: np.ndarray


def overlaps(box: np.ndarray, boxes: np.ndarray) -> np.ndarray:
    """(n,) float64: intersection over union of a box and n others, in continuous coordinates."""
    box, boxes = box.astype(np.float64), boxes.astype(np.float64)
    sides = np.minimum(box[2:], boxes[:, 2:]) - np.maximum(box[:2], boxes[:, :2])
    both = sides.clip(min=0).prod(axis=1)
    return both / ((box[2:] - box[:2]).prod() + (boxes[:, 2:] - boxes[:, :2]).prod(axis=1) - both)


def judged(objects: Sequence[Objects], detections: Sequence[Detections], label: int) -> tuple[np.ndarray, int]:
    """Which detections of a class are right.

    Args:
        objects: of each image.
        detections: in each image.
        label: the class.

    Returns:
        (n,) bool, by falling score: true or false positives, without those of difficult objects; and the number of
        objects that are not difficult.
    """
    known = [Objects(*(part[one.labels == label] for part in one)) for one in objects]
    boxes = np.concatenate([found.boxes[found.labels == label] for found in detections])
    scores = np.concatenate([found.scores[found.labels == label] for found in detections])
    images = np.repeat(np.arange(len(detections)), [(found.labels == label).sum() for found in detections])
    detected = [np.zeros(len(one.labels), dtype=bool) for one in known]
    right = []
    for position in np.argsort(-scores, kind="stable"):
        image = images[position]
        overlap = overlaps(boxes[position], known[image].boxes)
        best = int(overlap.argmax()) if len(overlap) else -1
        if best < 0 or overlap[best] < IOU:
            right.append(False)
        elif not known[image].difficult[best]:
            right.append(not detected[image][best])
            detected[image][best] = True
    return np.asarray(right, dtype=bool), sum(int((~one.difficult).sum()) for one in known)


def average_precision_11point(right: np.ndarray, positives: int) -> float:
    """Mean of the highest precision at a recall of at least 0, 0.1, ..., 1 (VOC 2007).

    Args:
        right: (n,) bool by falling score.
        positives: objects to find; at least 1.
    """
    found = right.cumsum()
    precision = found / np.arange(1, len(right) + 1)
    # In whole numbers, in which 3 of 10 objects are a recall of exactly 0.3.
    reached = [precision[found * (POINTS - 1) >= point * positives] for point in range(POINTS)]
    return float(np.mean([part.max() if len(part) else 0.0 for part in reached]))


def average_precision_area(right: np.ndarray, positives: int) -> float:
    """Area under the precision by recall, made monotonic from the right (VOC 2010 and later).

    Args:
        right: (n,) bool by falling score.
        positives: objects to find; at least 1.
    """
    precision = right.cumsum() / np.arange(1, len(right) + 1)
    highest_from_here = np.maximum.accumulate(precision[::-1])[::-1]
    return float(highest_from_here[right].sum() / positives)


def average_precisions(
    objects: Sequence[Objects], detections: Sequence[Detections], num_classes: int
) -> dict[str, list[float]]:
    """Average precision of each class in percent, in both conventions; NaN where a class has no object to find.

    Args:
        objects: of each image.
        detections: in each image, in the same order.
        num_classes: K.

    Returns:
        `map_11point` and `map_area`, each with K values.
    """
    curves = [judged(objects, detections, label) for label in range(num_classes)]
    ways = {"map_11point": average_precision_11point, "map_area": average_precision_area}
    return {
        name: [100 * way(right, positives) if positives else float("nan") for right, positives in curves]
        for name, way in ways.items()
    }
