"""The photographs of frost that the published corruption adds; the package `imagecorruptions` ships them."""

from __future__ import annotations

import functools
import importlib.util
from pathlib import Path

import numpy as np
from PIL import Image

from sosr_timm.errors import UserError

PACKAGE = "imagecorruptions"
TEXTURES = ("frost1.png", "frost2.png", "frost3.png", "frost4.jpg", "frost5.jpg")  # the sixth is never drawn
SMALLER = 5  # CIFAR-10-C takes textures of a fifth of the size


def frost_folder() -> Path:
    """Where the photographs are.

    Raises:
        UserError: the package is not installed.
    """
    # Found without importing it: only its pictures are used.
    spec = importlib.util.find_spec(PACKAGE)
    if spec is None or spec.origin is None:
        raise UserError(
            f"the corruption 'frost' needs the package '{PACKAGE}'. Install it with: pip install 'sosr-timm[analysis]'"
        )
    return Path(spec.origin).parent / "frost"


@functools.lru_cache(maxsize=16)
def frost_texture(number: int, side: int, small: bool) -> np.ndarray:
    """A photograph of frost.

    Args:
        number: 0 to 4.
        side: of the images, in pixels; a photograph that is not larger is enlarged until it is (the published sets have
            none).
        small: of a fifth of the size, as for CIFAR.

    Returns:
        (H, W, 3) uint8.
    """
    with Image.open(frost_folder() / TEXTURES[number]) as file:
        image = file.convert("RGB")
    if small:
        # A linear interpolation at a fifth of the size hits every fifth pixel exactly.
        size = tuple(round(length / SMALLER) for length in image.size)
        pixels = np.asarray(image)[SMALLER // 2 :: SMALLER, SMALLER // 2 :: SMALLER]
        image = Image.fromarray(np.ascontiguousarray(pixels[: size[1], : size[0]]))
    if min(image.size) <= side:
        scale = (side + 1) / min(image.size)
        image = image.resize(tuple(max(round(length * scale), side + 1) for length in image.size))
    return np.asarray(image)
