"""A fix for timm's AutoAugment, RandAugment and AugMix, which Pillow 13 refuses to posterise to zero bits."""

from __future__ import annotations

from typing import Any

from PIL import Image
from timm.data import auto_augment


def allow_zero_bits(stage: Any) -> None:
    """Let a policy posterise to zero bits, in place.

    'rand-m9-mstd0.5-inc1' asks for it once in several hundred images. Before Pillow 13 that was a black image, which
    it is again; Pillow 13 raises ValueError.

    Args:
        stage: one transform; only timm's policies are touched.
    """
    for entry in getattr(stage, "ops", getattr(stage, "policy", ())):
        for operation in entry if isinstance(entry, (list, tuple)) else (entry,):
            if getattr(operation, "aug_fn", None) is auto_augment.posterize:
                operation.aug_fn = _posterize


def _posterize(image: Image.Image, bits_to_keep: int, **arguments: Any) -> Image.Image:
    if bits_to_keep < 1:
        return Image.new(image.mode, image.size)
    return auto_augment.posterize(image, bits_to_keep, **arguments)
