"""A part of a training split that is held out for evaluation, chosen by a hash of each image's name."""

from __future__ import annotations

import dataclasses
import hashlib
import unicodedata

import numpy as np

from sosr_timm.data.sources.source import ImageSource, Subset
from sosr_timm.errors import UserError

SCALE = 2.0**64


def is_held_out(key: str, fraction: float) -> bool:
    """Whether an image is held out: the first 8 bytes of its name's SHA-256, as a share of 2^64, are below `fraction`.

    Only the name counts, so an image keeps its part when others are added or removed and with any other seed, and a
    larger fraction keeps what a smaller one held out. Names are compared in Unicode's composed form, because file
    systems differ in how they store accents.

    Args:
        key: name of the image, below the directory of the data set and with slashes.
        fraction: share of the images, between 0 and 1.
    """
    digest = hashlib.sha256(unicodedata.normalize("NFC", key).encode("utf-8", "surrogateescape")).digest()
    return int.from_bytes(digest[:8], "big") / SCALE < fraction


def hold_out(source: ImageSource, fraction: float) -> tuple[Subset, Subset]:
    """What is left for training, and what is held out for evaluation.

    Args:
        source: a training split.
        fraction: share of its images to hold out, between 0 and 1; the share that the hash gives differs a little.

    Returns:
        both parts; their `info.origin` has `val_fraction`, `held_out` (the number of images) and `held_out_sha256` (of
        their names in order).

    Raises:
        UserError: a fraction out of range, or a part without images.
    """
    if not 0 < fraction < 1:
        raise UserError(f"--val-fraction {fraction:g}: a share of the training images, above 0 and below 1")
    keys = [source.held_out_key(index) for index in range(len(source))]
    held = np.array([is_held_out(key, fraction) for key in keys], dtype=bool)
    if held.all() or not held.any():
        raise UserError(
            f"--val-fraction {fraction:g} holds out {held.sum()} of {len(held)} images; both parts need at least one"
        )
    names = "\n".join(sorted(key for key, out in zip(keys, held, strict=True) if out))
    digest = hashlib.sha256(names.encode("utf-8", "surrogateescape")).hexdigest()
    described = {"val_fraction": fraction, "held_out": int(held.sum()), "held_out_sha256": digest}
    parts = Subset(source, np.flatnonzero(~held)), Subset(source, np.flatnonzero(held))
    for part in parts:
        part.info = dataclasses.replace(source.info, origin={**source.info.origin, **described})
    return parts
