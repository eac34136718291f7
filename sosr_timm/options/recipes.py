"""Recipes by name: `--config cifar100/cifar_resnet56` finds hparams/cifar100/cifar_resnet56.yaml wherever it runs."""

from __future__ import annotations

from pathlib import Path

from sosr_timm.errors import UserError
from sosr_timm.registry import close_names

PACKAGE = Path(__file__).resolve().parents[1]
# A wheel carries hparams/ inside the package (setup.py copies it); in a checkout it is beside the package.
FOLDERS = (PACKAGE / "hparams", PACKAGE.parent / "hparams")
NOT_RECIPES = ("accelerate", "cluster", "slurm")  # how to launch, not what to train
SUFFIXES = (".yaml", ".yml")


def recipes_folder() -> Path | None:
    """The directory of the recipes that came with this package; None where there is none."""
    return next((folder for folder in FOLDERS if folder.is_dir()), None)


def recipe_names() -> list[str]:
    """Names of all recipes, as `digits` and `cifar100/cifar_resnet56`."""
    folder = recipes_folder()
    if folder is None:
        return []
    names = (path.relative_to(folder).with_suffix("") for path in folder.rglob("*.yaml"))
    return sorted(name.as_posix() for name in names if name.parts[0] not in NOT_RECIPES)


def find_config(text: str) -> Path:
    """The file that --config names: a path, or else the name of a recipe.

    Raises:
        UserError: neither; the line lists the nearest recipes.
    """
    path, folder = Path(text), recipes_folder()
    if path.is_file() or folder is None:
        return path
    name = path.with_suffix("") if path.suffix in SUFFIXES else path
    parts = name.parts[1:] if name.parts[:1] == ("hparams",) else name.parts
    names = recipe_names()
    wanted = "/".join(parts)
    if wanted in names:
        return folder / f"{wanted}.yaml"
    if path.exists() or path.is_absolute() or path.suffix in SUFFIXES:
        return path  # meant as a file: the reader says what is wrong with it
    same_end = [known for known in names if known.rpartition("/")[2] == name.name]
    if same_end:
        raise UserError(f"--config {text}: no such file or recipe. Did you mean {' or '.join(same_end)}?")
    raise UserError(f"--config {text}: no such file or recipe; {close_names(wanted, names)}")
