"""PIL modes of images, and how an image gets another one."""

from __future__ import annotations

import numpy as np
from PIL import Image


def to_mode(image: Image.Image, mode: str) -> Image.Image:
    """`image` in a PIL mode.

    A palette image with transparency goes through RGBA so that PIL does not guess; 16 bits become the upper 8, where
    PIL would make everything above 255 white.
    """
    if image.mode == mode:
        return image
    if image.mode.startswith("I;16") and mode not in ("I", "F"):
        image = Image.fromarray((np.asarray(image) >> 8).astype(np.uint8))
    if image.mode == "P" and "transparency" in image.info:
        image = image.convert("RGBA")
    return image.convert(mode)


def mode_of(channels: int) -> str:
    """PIL mode with that many channels: grey or colour, with or without transparency."""
    return {1: "L", 2: "LA", 4: "RGBA"}.get(channels, "RGB")
