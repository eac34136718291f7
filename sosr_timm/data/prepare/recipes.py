"""Every data set that can be prepared, by name."""

from __future__ import annotations

from sosr_timm.data.prepare import aircraft, cifar, cub200, flowers102, imagenet, stanford_cars, tiny_imagenet, voc
from sosr_timm.data.prepare.spec import Recipe
from sosr_timm.errors import UserError
from sosr_timm.registry import close_names

RECIPES: dict[str, Recipe] = {
    recipe.spec.name: recipe
    for recipe in (
        cifar.CIFAR10_RECIPE,
        cifar.CIFAR100_RECIPE,
        tiny_imagenet.RECIPE,
        imagenet.RECIPE,
        cub200.RECIPE,
        stanford_cars.RECIPE,
        flowers102.RECIPE,
        aircraft.RECIPE,
        voc.RECIPE,
    )
}


def find_recipe(name: str) -> Recipe:
    """The recipe of a data set.

    Raises:
        UserError: there is none of that name.
    """
    if name not in RECIPES:
        raise UserError(f"no data set '{name}' to prepare: {close_names(name, RECIPES)}")
    return RECIPES[name]
