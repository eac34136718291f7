"""The settings of a row (recipe < table < row < command line): as options, as a key, as arguments of train.py."""

from __future__ import annotations

import functools
import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from sosr_timm import results
from sosr_timm.data.sources.catalog import open_source
from sosr_timm.errors import UserError
from sosr_timm.files import shortest
from sosr_timm.losses.spec import parse_loss
from sosr_timm.options.detection import DetectionOptions
from sosr_timm.options.fields import TRAINING, Option, options_of
from sosr_timm.options.load import plain, read_config
from sosr_timm.options.recipes import recipe_names, recipes_folder
from sosr_timm.options.train import TrainOptions
from sosr_timm.registry import close_names
from sosr_timm.runner.tables import Row, Table

PROGRAMS = {"train": TrainOptions, "detect": DetectionOptions}
OPTIONS = options_of(TrainOptions)
# The size of a batch matters; how it is split over steps and processes does not, in exact arithmetic.
OF_THE_BATCH = ("batch_size", "grad_accum_steps")
# Settings that a recipe makes for its own data set: reset, or refused, if another data set takes its place.
OF_THE_DATA = ("class_map", "train_split", "val_split")
IN_THE_WAY = ("input_size", "in_chans", "input_img_mode", "train_resize")


def options_of_program(program: str) -> dict[str, Option]:
    """The options of the program that makes a table's runs, by name."""
    return options_of(PROGRAMS[program])


def recipe_path(table: Table, row: Row) -> Path | None:
    """The file of a row's recipe, which is a name or a path; None for a row of options alone.

    Raises:
        UserError: unknown recipe; names the table's file and line, and the nearest recipe.
    """
    if not row.recipe:
        return None
    if Path(row.recipe).is_file():
        return Path(row.recipe)
    folder = recipes_folder()
    path = folder / f"{row.recipe}.yaml" if folder else Path(row.recipe)
    if not path.is_file():
        raise UserError(
            f"{table.path}, line {row.line}: unknown recipe '{row.recipe}': {close_names(row.recipe, recipe_names())}"
        )
    return path


@functools.cache
def read_recipe(path: Path | None) -> Mapping[str, Any]:
    """The options of a recipe, by name, none without one; cached, because many rows share one.

    Raises:
        UserError: an invalid recipe.
    """
    return read_config(TrainOptions, path) if path else {}


def settings(table: Table, row: Row, changes: Mapping[str, Any]) -> dict[str, Any]:
    """Every option of a row's runs, by name.

    Args:
        table: of the row.
        row: to train.
        changes: options that overrule the row's.

    Raises:
        UserError: an unknown or invalid recipe.
    """
    if table.program == "detect":
        unknown = changes.keys() - options_of_program(table.program).keys()
        if unknown:
            raise UserError(f"{table.name}: sosr-detect has no --{min(unknown).replace('_', '-')}")
        start = {"model": f"best of {json.dumps(row.start, sort_keys=True)}"} if row.start else {}
        return {**row.options, **start, **changes}
    recipe = read_recipe(recipe_path(table, row))
    start = {"pretrained_path": f"best of {json.dumps(row.start, sort_keys=True)}"} if row.start else {}
    return {**recipe, **row.options, **start, "loss": row.loss, "smoothing": row.smoothing, **changes}


def conditions(table: Table, row: Row, changes: Mapping[str, Any]) -> dict[str, Any]:
    """The changes that make a row's runs differ from the table; {} if none does."""
    own, known = settings(table, row, {}), options_of_program(table.program)
    settings(table, row, changes)  # refuses what the program does not have
    return {
        name: plain(value)
        for name, value in changes.items()
        if known[name].scope == TRAINING or name in OF_THE_BATCH
        if plain(own.get(name, known[name].default)) != plain(value)
    }


def key_of(values: Mapping[str, Any], program: str = "train") -> str:
    """16 hexadecimal digits: equal for equal training, independent of seed, machine and folders.

    An option at its default counts as not given, so that a new option changes no key; a loss counts in its full form.

    Args:
        values: of `settings`.
        program: of the table.
    """
    known = options_of_program(program)
    kept = {
        name: plain(value)
        for name, value in values.items()
        if (known[name].scope == TRAINING or name in OF_THE_BATCH) and name != "seed"
        if plain(value) != plain(known[name].default)
    }
    if program != "train":
        return results.digest({**kept, "program": program})
    return results.digest({**kept, "loss": str(parse_loss(values["loss"]))})


def arguments(table: Table, row: Row, changes: Mapping[str, Any]) -> list[str]:
    """The arguments of train.py, or of the table's program, without seed and folders.

    Raises:
        UserError: an unknown recipe, or a data set that cannot be opened.
    """
    if table.program == "detect":
        return flags({**row.options, **changes}, options_of_program(table.program))
    path = recipe_path(table, row)
    recipe = read_recipe(path)
    given = {**row.options, "loss": row.loss, "smoothing": row.smoothing, **changes}
    if "dataset" in changes and changes["dataset"] != recipe.get("dataset"):
        given = {**fitted(recipe, changes["dataset"], changes.get("data_dir")), **given}
    return [*(["--config", shortest(path)] if path else []), *flags(given)]


def fitted(recipe: Mapping[str, Any], dataset: str, data_dir: str | None) -> dict[str, Any]:
    """The options that adapt a recipe to another data set: size, mean, deviation, classes, random initial weights.

    Raises:
        UserError: the data set cannot be opened, or the recipe works only with its own.
    """
    info = open_source(dataset, data_dir, "train").info
    ours = {"img_size": info.image_size, "mean": info.mean, "std": info.std, "num_classes": info.num_classes}
    values = {name: value for name, value in ours.items() if value is not None and name in recipe}
    for name in IN_THE_WAY:
        if name in recipe:
            raise UserError(f"a recipe with '{name}' does not work with another data set")
    values.update({name: OPTIONS[name].default for name in OF_THE_DATA if name in recipe})
    if recipe.get("pretrained"):
        values["pretrained"] = False
    return values


def flags(values: Mapping[str, Any], known: Mapping[str, Option] = OPTIONS) -> list[str]:
    """Options as command-line arguments.

    Args:
        values: by name.
        known: the program's options.

    Raises:
        UserError: a value that a command line cannot express.
    """
    words: list[str] = []
    for name, value in values.items():
        option = known[name]
        if value is None or (isinstance(value, (list, tuple, dict)) and not value):
            raise UserError(f"option '{name}' cannot be empty on a command line")
        if option.kind.scalar is bool:
            negative = "--" + option.flag[5:] if name.startswith("no_") else "--no-" + option.flag[2:]
            words.append(option.flag if value else negative)
        elif isinstance(value, dict):
            words += [option.flag, *(f"{key}={item!r}" for key, item in value.items())]
        elif isinstance(value, (list, tuple)):
            words += [option.flag, *map(str, value)]
        else:
            words += [option.flag, str(value)]
    return words
