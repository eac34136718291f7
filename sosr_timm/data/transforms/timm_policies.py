"""timm's AutoAugment, RandAugment and AugMix: their names checked, and fixed for what today's Pillow refuses."""

from __future__ import annotations

import re
from typing import Any

from PIL import Image
from timm.data import auto_augment

from sosr_timm.data.transforms.learned_policies import AUTO_AUGMENT, FILE_ENDINGS, WITHOUT_SEARCH
from sosr_timm.errors import UserError
from sosr_timm.registry import close_names

NUMBER, INTEGER, SWITCH = r"\d+(\.\d+)?", r"\d+", "[01]"
# What may follow each name of timm's, and the largest value.
SECTIONS: dict[str, dict[str, tuple[str, float]]] = {
    **{name: {"mstd": (NUMBER, float("inf"))} for name in ("v0", "v0r", "original", "originalr", "3a")},
    "rand": {
        "m": (INTEGER, 100),
        "n": (INTEGER, 14),  # as many as the smallest weighted set has, from which none is drawn twice
        "p": (NUMBER, 1),
        "mstd": (NUMBER, float("inf")),
        "mmax": (INTEGER, 100),
        "inc": (SWITCH, 1),
        "t": ("weights|3aw|3a", 0),
    },
    "augmix": {
        "m": (INTEGER, 100),
        "w": (INTEGER, 100),
        "d": (INTEGER, 100),
        "a": (NUMBER, 100),
        "b": (SWITCH, 1),
        "mstd": (NUMBER, float("inf")),
    },
}
NOT_ZERO = {("rand", "n"), ("augmix", "w"), ("augmix", "a")}


def check_policy_name(name: str) -> None:
    """Raise where `name` is no policy: timm skips what it cannot read in one.

    Args:
        name: 'rand-m9-mstd0.5-inc1', 'v0', a name of torchvision's, or a policy file.

    Raises:
        UserError: the part that is wrong.
    """
    if name in AUTO_AUGMENT or name in WITHOUT_SEARCH or name.endswith(FILE_ENDINGS):
        return
    base, *sections = name.split("-")
    if base not in SECTIONS:
        near = close_names(base, [*SECTIONS, *AUTO_AUGMENT, *WITHOUT_SEARCH])
        raise UserError(f"--aa {name}: unknown policy '{base}': {near}")
    keys = SECTIONS[base]
    for section in sections:
        key = next((key for key in sorted(keys, key=len, reverse=True) if section.startswith(key)), "")
        value, (pattern, most) = section.removeprefix(key), keys.get(key, ("(?!)", 0))
        fits = re.fullmatch(pattern, value, re.ASCII)
        if fits and key != "t":
            fits = float(value) <= most and (float(value) > 0 or (base, key) not in NOT_ZERO)
        if not fits:
            known = ", ".join(map(_written, keys.items()))
            raise UserError(f"--aa {name}: '{section}' is not a part of the policy '{base}'; known: {known}")


def _written(item: tuple[str, tuple[str, float]]) -> str:
    key, (pattern, most) = item
    if key == "t":
        return " ".join(f"t{word}" for word in pattern.split("|"))
    if pattern == SWITCH:
        return f"{key}0 {key}1"
    return f"{key}NUMBER" + (f" (at most {most:g})" if most < float("inf") else "")


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
