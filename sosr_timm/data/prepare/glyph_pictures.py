"""Fonts as pictures: the 94 characters of a font at one scale and on one baseline, and how alike two fonts look."""

from __future__ import annotations

from pathlib import Path

import numpy as np
from PIL import Image, ImageDraw, ImageFont

from sosr_timm.data.prepare.glyph_fonts import CHARACTERS

SIDE = 32  # pixels of a picture
MARGIN = 2  # pixels around the ink of the largest character
ENLARGED = 8  # drawn so many times larger, then averaged: hinting and smoothing then matter little
ROOM = (SIDE - 2 * MARGIN) * ENLARGED
BIG = SIDE * ENLARGED


def render(path: Path, index: int) -> np.ndarray | None:
    """Draw the 94 characters of a font, light on dark.

    All of them have the same scale, the largest at which none reaches into the margin, and the same baseline, so that
    size and height tell them apart. Each is centred from left to right.

    Args:
        path: of the font file.
        index: of the font in it.

    Returns:
        (94, 32, 32) uint8; None where FreeType cannot draw the font.
    """
    try:
        fitted = _fit(path, index)
        if fitted is None:
            return None
        font, boxes = fitted
        top, bottom = boxes[:, 1].min(), boxes[:, 3].max()
        baseline = (BIG - (bottom - top)) // 2 - top
        pictures = np.empty((len(CHARACTERS), SIDE, SIDE), np.uint8)
        for row, (character, (left, _, right, _)) in enumerate(zip(CHARACTERS, boxes.tolist(), strict=True)):
            image = Image.new("L", (BIG, BIG))
            start = (BIG - (right - left)) // 2 - left
            ImageDraw.Draw(image).text((start, int(baseline)), character, 255, font=font, anchor="ls")
            pictures[row] = np.asarray(image.reduce(ENLARGED))
    except OSError:
        return None
    return pictures


def _fit(path: Path, index: int) -> tuple[ImageFont.FreeTypeFont, np.ndarray] | None:
    """The font at the largest size that fits, and each character's (left, top, right, bottom); None without ink."""
    _, boxes, extent = _measure(path, index, BIG)
    size = BIG * ROOM // extent if extent > 0 else 0
    while size > 0:
        font, boxes, extent = _measure(path, index, size)
        if extent <= ROOM:
            return font, boxes
        size -= 1  # hinting rounds up
    return None


def _measure(path: Path, index: int, size: int) -> tuple[ImageFont.FreeTypeFont, np.ndarray, int]:
    font = ImageFont.truetype(str(path), size, index, layout_engine=ImageFont.Layout.BASIC)
    boxes = np.array([font.getbbox(character, anchor="ls") for character in CHARACTERS])
    extent = max((boxes[:, 2] - boxes[:, 0]).max(), boxes[:, 3].max() - boxes[:, 1].min())
    return font, boxes, int(extent)


def distinct_pictures(pictures: np.ndarray) -> int:
    """How many of the 94 pictures of a font differ from all others."""
    return len({picture.tobytes() for picture in pictures})


def distances(fonts: np.ndarray) -> np.ndarray:
    """Root mean square difference of every two fonts, in grey levels of 255.

    Sums of squares of bytes are exact in float64, so the result does not depend on the order of the sums.

    Args:
        fonts: (F, 94, 32, 32) uint8.

    Returns:
        (F, F) float64.
    """
    rows = fonts.reshape(len(fonts), -1)
    products = np.zeros((len(rows), len(rows)))
    for start in range(0, rows.shape[1], 8192):
        block = rows[:, start : start + 8192].astype(np.float64)
        products += block @ block.T
    squares = np.diag(products)
    return np.sqrt(np.maximum(squares[:, None] + squares[None] - 2 * products, 0) / rows.shape[1])
