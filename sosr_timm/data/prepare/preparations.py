"""Every data set that can be prepared, by name."""

from __future__ import annotations

from sosr_timm.data.prepare import (
    aircraft,
    cifar,
    cub200,
    flowers102,
    glyphs,
    imagenet,
    stanford_cars,
    tiny_imagenet,
    voc,
)
from sosr_timm.data.prepare.spec import Preparation
from sosr_timm.errors import UserError
from sosr_timm.registry import close_names

PREPARATIONS: dict[str, Preparation] = {
    preparation.spec.name: preparation
    for preparation in (
        cifar.CIFAR10_PREPARATION,
        cifar.CIFAR100_PREPARATION,
        tiny_imagenet.PREPARATION,
        imagenet.PREPARATION,
        cub200.PREPARATION,
        stanford_cars.PREPARATION,
        flowers102.PREPARATION,
        aircraft.PREPARATION,
        voc.PREPARATION,
        glyphs.PREPARATION,
    )
}


def find_preparation(name: str) -> Preparation:
    """The preparation of a data set.

    Raises:
        UserError: there is none of that name.
    """
    if name not in PREPARATIONS:
        raise UserError(f"no data set '{name}' to prepare: {close_names(name, PREPARATIONS)}")
    return PREPARATIONS[name]
