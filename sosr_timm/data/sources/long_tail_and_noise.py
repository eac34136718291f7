"""Modified training sets: a long tail of class sizes, and noisy labels."""

from __future__ import annotations

import dataclasses
import hashlib

import numpy as np

from sosr_timm.data.order.seeding import LABEL_NOISE, LONG_TAIL, seed_words
from sosr_timm.data.sources.source import ImageSource, Subset
from sosr_timm.errors import UserError


def long_tail_sizes(largest: int, num_classes: int, ratio: float) -> list[int]:
    """Images of each class: largest * ratio ** (c / (K - 1)) for class c of K, rounded down (Cao et al. 2019, LDAM).

    Args:
        largest: images of the first class.
        num_classes: K, at least 2.
        ratio: of the last class to the first one, in (0, 1]. CIFAR-10 at 1/100: 5000, 2997, 1796, ..., 83, 50.
    """
    sizes = largest * ratio ** (np.arange(num_classes) / (num_classes - 1))
    # The last one is an integer in exact arithmetic wherever the ratio is meant to give one.
    return [int(size) for size in np.floor(sizes + 1e-9)]


def long_tail_indices(labels: np.ndarray, num_classes: int, ratio: float, seed: int) -> np.ndarray:
    """Which images a long tail keeps; the first class keeps as many as the smallest class has.

    Args:
        labels: (N,) int64.
        num_classes: K.
        ratio: of the last class to the first one.
        seed: of the run; the images kept are drawn from it.

    Returns:
        positions in `labels`, ascending.

    Raises:
        UserError: a ratio outside (0, 1], a single class, or one that would have no image.
    """
    if not 0 < ratio <= 1:
        raise UserError(
            f"--long-tail {ratio}: the share of the first class's images that the last one keeps, in (0, 1]"
        )
    counts = np.bincount(labels, minlength=num_classes)
    if num_classes < 2 or not counts.min():
        raise UserError(
            f"--long-tail: class {int(counts.argmin())} of {num_classes} has {counts.min()} training images"
        )
    sizes = long_tail_sizes(int(counts.min()), num_classes, ratio)
    if not min(sizes):
        raise UserError(
            f"--long-tail {ratio}: class {sizes.index(0)} would keep no image (a class has {counts.min()}); "
            f"at least {1 / counts.min():.2g}"
        )
    random = np.random.default_rng(seed_words(seed, LONG_TAIL, count=4))
    kept = [random.permutation(np.flatnonzero(labels == index))[:size] for index, size in enumerate(sizes)]
    return np.sort(np.concatenate(kept))


def noisy_labels(labels: np.ndarray, num_classes: int, rate: float, seed: int) -> np.ndarray:
    """Symmetric noise: with probability `rate` a label becomes one of the K - 1 others, each as likely.

    Other work draws from all K classes, the right one among them; its rate r is a rate of r (K - 1) / K here.

    Args:
        labels: (N,) int64.
        num_classes: K.
        rate: in [0, 1].
        seed: of the run.

    Returns:
        (N,) int64.

    Raises:
        UserError: a rate outside [0, 1], or a single class.
    """
    if not 0 <= rate <= 1:
        raise UserError(f"--label-noise {rate}: a share of the training images, in [0, 1]")
    if num_classes < 2:
        raise UserError("--label-noise: with a single class there is no other label")
    random = np.random.default_rng(seed_words(seed, LABEL_NOISE, count=4))
    flipped = random.random(len(labels)) < rate
    others = (labels + random.integers(1, num_classes, len(labels))) % num_classes
    return np.where(flipped, others, labels).astype(np.int64)


def modify_training_set(
    source: ImageSource, seed: int, long_tail: float | None, label_noise: float | None
) -> ImageSource:
    """A training set with a long tail, noisy labels or both, the noise drawn on what the tail keeps.

    Args:
        source: the training set.
        seed: of the run.
        long_tail: as in `long_tail_indices`; None leaves every image.
        label_noise: as in `noisy_labels`; None leaves every label.

    Returns:
        `source` itself where neither is asked for, else a `Subset` with labels; its `info.origin` says what was done.

    Raises:
        UserError: a share out of range, a set whose classes are not known, or too few images.
    """
    if long_tail is None and label_noise is None:
        return source
    num_classes = source.info.num_classes
    if source.info.multi_hot:
        raise UserError("--long-tail and --label-noise are for one class per image")
    if num_classes is None:
        raise UserError("--long-tail and --label-noise need a data set that states its classes")
    labels = source.read_labels()
    indices = np.arange(len(source))
    if long_tail is not None:
        indices = long_tail_indices(labels, num_classes, long_tail, seed)
        labels = labels[indices]
    clean = labels
    if label_noise is not None:
        labels = noisy_labels(clean, num_classes, label_noise, seed)
    modified = Subset(source, indices, labels)
    described = {
        "long_tail": long_tail,
        "label_noise": label_noise,
        "class_sizes": np.bincount(clean, minlength=num_classes).tolist(),
        "labels_exchanged": int((labels != clean).sum()),
        "labels_sha256": labels_digest(indices, labels),
    }
    modified.info = dataclasses.replace(source.info, origin={**source.info.origin, **described})
    return modified


def labels_digest(indices: np.ndarray, labels: np.ndarray) -> str:
    """SHA-256 of which images a set has and under which labels."""
    return hashlib.sha256(np.stack([indices, labels]).astype("<i8").tobytes()).hexdigest()
