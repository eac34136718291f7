"""Digits with many labels: what a shape has, as a data set of its own for tests."""

from __future__ import annotations

import dataclasses
from contextlib import contextmanager

import numpy as np

from sosr_timm.data.sources.embedded import digits
from sosr_timm.data.sources.names import DATASETS
from sosr_timm.data.sources.source import ArraySource, ImageSource

# Which digits are even, have a closed loop, are above four, are primes.
ATTRIBUTES = {"even": (0, 2, 4, 6, 8), "loop": (0, 4, 6, 8, 9), "large": (5, 6, 7, 8, 9), "prime": (2, 3, 5, 7)}


def digit_attributes(split: str, root: str | None, download: bool) -> ImageSource:
    """The digits with four attributes instead of their class."""
    whole = digits(split, root, download)
    labels = np.stack([np.isin(whole.labels, members) for members in ATTRIBUTES.values()], axis=1)
    info = dataclasses.replace(whole.info, num_classes=4, class_names=tuple(ATTRIBUTES), multi_hot=True)
    return ArraySource(whole.images, labels.astype(np.float32), info, f"digit attributes {split}")


@contextmanager
def registered():
    """The data set `digit_attributes`, known for as long as the block lasts."""
    DATASETS.register("digit_attributes")(digit_attributes)
    try:
        yield
    finally:
        DATASETS._things.pop("digit_attributes")
