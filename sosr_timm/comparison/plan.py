"""The plan of a comparison: losses, seeds, options and data, stored as plan.json and checked when it continues."""

from __future__ import annotations

import dataclasses
import json
import os
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any

from sosr_timm.comparison.grid import expand
from sosr_timm.errors import UserError, one_line
from sosr_timm.files import must_write, write_json
from sosr_timm.losses.spec import parse_loss
from sosr_timm.options.compare import SET_BY_COMPARISON, CompareOptions, ComparisonOptions
from sosr_timm.options.fields import TRAINING, options_of
from sosr_timm.options.load import Loaded, plain
from sosr_timm.options.recipes import find_config
from sosr_timm.options.train import TrainOptions
from sosr_timm.runner.settings import OF_THE_BATCH, OPTIONS
from sosr_timm.runner.tables import Row, Table

FORMAT = 1
PLAN = "plan.json"
OWN = {name for name, option in options_of(CompareOptions).items() if option.group == "comparison"}
SPLIT = options_of(TrainOptions)["val_split"].default
RECORDED = "record_confidence"  # of train.py: the share of over-confident training samples


@dataclass(frozen=True)
class Candidate:
    """A loss of a comparison.

    Attributes:
        loss: as it was written.
        full_form: with every keyword.
        seeds: how many; they count from 0.
        grid: the --grid that it belongs to; "" for none.
        listed: it is one of --losses.
    """

    loss: str
    full_form: str
    seeds: int
    grid: str = ""
    listed: bool = True


@dataclass(frozen=True)
class Plan:
    """What a comparison is.

    Attributes:
        name: of the comparison.
        losses: to compare, the baseline first.
        baseline: the loss that the others are compared with.
        epochs: of each run.
        recipe: name or path of --config; "" for options alone.
        options: of train.py that change training and are not at their default, by name.
        select_on: share of the training images that is held out to choose on; None: nothing is chosen.
        select_by: metric to choose epochs, and values of a grid, by.
        test_split: split of the test images where `select_on` is given, else of the evaluation images.
        early_stop_losers: drop losses by successive halving.
        data: facts about the images, and a digest of their names and labels.
    """

    name: str
    losses: tuple[Candidate, ...]
    baseline: str
    epochs: int
    recipe: str
    options: dict[str, Any]
    select_on: float | None
    select_by: str
    test_split: str
    early_stop_losers: bool
    data: dict[str, Any] = field(default_factory=dict)

    @property
    def others(self) -> list[Candidate]:
        """The losses that are compared with the baseline."""
        return [candidate for candidate in self.losses if candidate.loss != self.baseline]


def make_plan(loaded: Loaded[CompareOptions]) -> tuple[Plan, dict[str, Any]]:
    """The plan that options ask for, without its data, and the options of train.py to give to each run.

    Raises:
        UserError: an option that a comparison sets itself, a loss that cannot be read or is given twice, fewer than two
            losses, or options that exclude each other.
    """
    comparison, options = loaded.options.comparison, loaded.options
    for name in loaded.config:
        if name in OWN:
            raise UserError(f"{options.run.config}: {name} can only be given on the command line of sosr-compare")
    for name, advice in SET_BY_COMPARISON.items():
        given = {**loaded.config, **loaded.command_line}
        if name in given and given[name] != OPTIONS[name].default and not (name == "seed" and name in loaded.config):
            raise UserError(f"{OPTIONS[name].flag}: {advice}")
    if options.task.task != OPTIONS["task"].default:
        raise UserError(f"--task {options.task.task} is not supported: a comparison needs one class per image")
    if not options.data.val_split and options.data.val_fraction is None:
        raise UserError("a comparison needs evaluation images: --val-split is empty")
    data = options.data
    if not (data.dataset or data.data_dir or data.data):
        raise UserError("which images? Give --data-dir FOLDER or --dataset NAME")
    given = {name: value for name, value in loaded.command_line.items() if name not in OWN}
    words = {name: value for name, value in given.items() if name not in ("config", "output", "dry_run")}
    test_split = data.val_split
    if comparison.select_on is not None:
        if data.val_fraction is not None:
            raise UserError("--select-on and --val-fraction hold out the same images: give --select-on alone")
        words |= {"val_fraction": comparison.select_on, "val_split": SPLIT}
    elif comparison.early_stop_losers:
        raise UserError(
            "--early-stop-losers chooses between losses, for which the test images must not be used: add --select-on"
        )
    elif comparison.select_by:
        raise UserError("--select-by has no effect without --select-on")
    if comparison.select_by:
        words["eval_metric"] = comparison.select_by
    if RECORDED in OPTIONS and RECORDED not in {**loaded.config, **words}:
        words[RECORDED] = "training"
    losses = candidates(comparison)
    plan = Plan(
        name=comparison.name or name_of(options),
        losses=losses,
        baseline=losses[0].loss,
        epochs=options.schedule.epochs,
        recipe=options.run.config or "",
        options=of_training({**loaded.config, **words}),
        select_on=comparison.select_on,
        select_by=comparison.select_by or options.run.eval_metric,
        test_split=test_split,
        early_stop_losers=comparison.early_stop_losers,
    )
    return plan, words


def candidates(comparison: ComparisonOptions) -> tuple[Candidate, ...]:
    """The losses of --losses and --grid, the baseline first.

    Raises:
        UserError: one that cannot be read, two of the same meaning, fewer than two, or an unknown baseline.
    """
    found: dict[str, Candidate] = {}
    for text in comparison.losses:
        full_form = full_form_of(text, "--losses")
        if full_form in found:
            raise UserError(f"--losses: '{text}' and '{found[full_form].loss}' are the same loss: {full_form}")
        found[full_form] = Candidate(text, full_form, comparison.seeds)
    for text in comparison.grid:
        for loss in expand(text):
            full_form = full_form_of(loss, "--grid")
            # Also one of --losses: its runs serve both.
            known = found.get(full_form, Candidate(loss, full_form, comparison.seeds, listed=False))
            if known.grid and known.grid != text:
                raise UserError(f"--grid: {loss} is in '{known.grid}' and in '{text}'")
            found[full_form] = dataclasses.replace(known, grid=text)
    if len(found) < 2:
        raise UserError("a comparison needs two losses or more: --losses ce sosr")
    losses = list(found.values())
    first = losses[0]
    if comparison.baseline:
        wanted = full_form_of(comparison.baseline, "--baseline")
        if wanted not in found:
            raise UserError(f"--baseline {comparison.baseline} is none of {', '.join(one.loss for one in losses)}")
        first = found[wanted]
    if not comparison.losses and not comparison.baseline:
        raise UserError("--grid alone has no baseline: name it in --losses")
    return (first, *(one for one in losses if one is not first))


def full_form_of(text: str, flag: str) -> str:
    """A loss with all its keywords.

    Raises:
        UserError: it cannot be read.
    """
    try:
        return str(parse_loss(text))
    except ValueError as error:
        raise UserError(f"{flag}: {one_line(error)}") from None


def name_of(options: CompareOptions) -> str:
    """A name made from data and model."""
    data = options.data.dataset or name_of_directory(options.data.data or options.data.data_dir or "data")
    words = (data, options.model.model)
    return "-".join("".join(c if c.isalnum() or c in "_.=" else "_" for c in word).strip("_") for word in words)


def name_of_directory(path: str) -> str:
    """The last part of a path, also of `.` and `..`."""
    return os.path.basename(os.path.abspath(path))


def of_training(values: dict[str, Any]) -> dict[str, Any]:
    """The values that change training and are not at their default, as JSON holds them, in the order of their names."""
    return {
        name: plain(value)
        for name, value in sorted(values.items())
        if OPTIONS[name].scope == TRAINING or name in OF_THE_BATCH
        if plain(value) != plain(OPTIONS[name].default)
    }


def table_of(plan: Plan, words: dict[str, Any]) -> Table:
    """The plan as a table of runs.

    Args:
        plan: with its losses.
        words: options of train.py to give to each run.
    """
    recipe = str(find_config(plan.recipe)) if plan.recipe else ""
    rows = tuple(
        Row(
            key={"method": one.loss},
            line=0,
            recipe=recipe,
            loss=one.loss,
            smoothing=0.0,
            options=words,
            seeds=one.seeds,
            against="" if one.loss == plan.baseline else plan.baseline,
            start={},
            absent="",
        )
        for one in plan.losses
    )
    return Table(plan.name, Path(PLAN), plan.name, "top1", "", plan.data.get("training_images", 0), rows)


def save_plan(plan: Plan, folder: Path) -> None:
    """Write plan.json in one step; creates missing folders.

    Raises:
        UserError: it cannot be written.
    """
    with must_write(folder / PLAN):
        write_json(folder / PLAN, {"format": FORMAT, **asdict(plan)})


def load_plan(folder: Path) -> Plan | None:
    """The plan of a comparison; None where there is none.

    Raises:
        UserError: it is damaged.
    """
    path = folder / PLAN
    if not path.is_file():
        return None
    try:
        content = json.loads(path.read_text(encoding="utf-8"))
        if content.pop("format") != FORMAT:
            raise ValueError("another format")
        losses = tuple(Candidate(**one) for one in content.pop("losses"))
        return Plan(losses=losses, **content)
    except (OSError, ValueError, TypeError, KeyError, AttributeError) as error:
        raise UserError(f"{path}: not the plan of a comparison ({one_line(error)})") from None


def continued(plan: Plan, stored: Plan, folder: Path) -> Plan:
    """A stored plan that continues, with the losses and seeds that a new command adds.

    Raises:
        UserError: other options, other data, or an addition where something is chosen between the losses.
    """
    old, new = settings_of(stored), settings_of(plan)
    different = [name for name in sorted({*old, *new}) if old.get(name) != new.get(name)]
    if different:
        name = different[0]
        words = [values.get(name, "its default") for values in (old, new)]
        raise UserError(
            f"{folder} is a comparison with other options: {name} is {words[0]} there, not {words[1]}; "
            "give another --name"
        )
    if stored.data["digest"] != plan.data["digest"]:
        raise UserError(f"{folder} is a comparison on other images: {in_words(stored)}, not {in_words(plan)}")
    before = {one.full_form: one for one in stored.losses}
    losses = {**before}
    for one in plan.losses:
        known = before.get(one.full_form, one)
        losses[one.full_form] = dataclasses.replace(known, seeds=max(one.seeds, known.seeds))
    merged = tuple(losses.values())
    if merged != stored.losses and stored.select_on is not None:
        raise UserError(f"{folder} chooses between its losses, so no loss or seed can be added; give another --name")
    return dataclasses.replace(stored, losses=merged)


def settings_of(plan: Plan) -> dict[str, Any]:
    """What must be the same for a comparison to continue, by name."""
    names = ("epochs", "select_on", "select_by", "test_split", "early_stop_losers")
    baseline = next(one.full_form for one in plan.losses if one.loss == plan.baseline)
    return {**plan.options, "baseline": baseline, **{name: getattr(plan, name) for name in names}}


def in_words(plan: Plan) -> str:
    """The images of a plan."""
    data = plan.data
    digest = f"(digest {data['digest']})"
    return f"{data['training_images']:,} and {data['evaluation_images']:,} of {data['name']} {digest}"
