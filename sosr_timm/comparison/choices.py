"""What a comparison chose on held-out images, stored as choices.json: losses dropped early, values of a grid."""

from __future__ import annotations

import dataclasses
import json
import math
from collections.abc import Callable, Iterable, Mapping
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any

import numpy as np

from sosr_timm.comparison.plan import Candidate, Plan
from sosr_timm.errors import UserError, one_line
from sosr_timm.files import must_write, write_json
from sosr_timm.metrics.titles import LOWER_IS_BETTER, ONE_CLASS

FORMAT = 1
CHOICES = "choices.json"
NO_VALUE = "a run failed or gave no number"


@dataclass(frozen=True)
class Choices:
    """What was chosen so far; each choice is made once.

    Attributes:
        rungs: epochs after which losses were dropped.
        dropped: full form of a loss -> why.
        selected: --grid -> full form of its chosen loss.
        not_selected: full form of a loss -> why.
    """

    rungs: tuple[int, ...] = ()
    dropped: dict[str, str] = field(default_factory=dict)
    selected: dict[str, str] = field(default_factory=dict)
    not_selected: dict[str, str] = field(default_factory=dict)


def load_choices(folder: Path) -> Choices:
    """The choices of a comparison; none where there is no file.

    Raises:
        UserError: it is damaged.
    """
    path = folder / CHOICES
    if not path.is_file():
        return Choices()
    try:
        content = json.loads(path.read_text(encoding="utf-8"))
        if content.pop("format") != FORMAT:
            raise ValueError("another format")
        return Choices(**{**content, "rungs": tuple(content["rungs"])})
    except (OSError, ValueError, TypeError, KeyError, AttributeError) as error:
        raise UserError(f"{path}: not the choices of a comparison ({one_line(error)})") from None


def save_choices(choices: Choices, folder: Path) -> None:
    """Write choices.json in one step.

    Raises:
        UserError: it cannot be written.
    """
    with must_write(folder / CHOICES):
        write_json(folder / CHOICES, {"format": FORMAT, **asdict(choices)})


def rungs_of(epochs: int) -> list[int]:
    """The epochs after which the worse half of the losses ends: a quarter and half of all, without repeats."""
    return sorted({rung for rung in (epochs // 4, epochs // 2) if 0 < rung < epochs})


def kept(plan: Plan, choices: Choices) -> list[Candidate]:
    """The losses that are still trained, the baseline among them."""
    return [one for one in plan.losses if one.full_form not in choices.dropped]


def shown(plan: Plan, choices: Choices) -> list[Candidate]:
    """The losses that were neither dropped nor left out of the grid that they come from, once that is chosen from."""
    return [
        one
        for one in kept(plan, choices)
        if one.full_form not in choices.not_selected and (one.listed or one.grid in choices.selected)
    ]


def drop_losers(
    plan: Plan, choices: Choices, rung: int, values_at: Callable[[Candidate, int], Mapping[int, float]]
) -> Choices:
    """Drop the worse half of the losses after some epochs; the baseline stays and is not counted.

    Args:
        plan: of the comparison.
        choices: made before.
        rung: epochs that all runs have.
        values_at: a loss's held-out values of `plan.select_by` by seed after that many epochs; none where it failed.

    Returns:
        the choices; those made before, where every loss failed and nothing can be ranked.
    """
    others = [one for one in kept(plan, choices) if one.loss != plan.baseline]
    means = {one.full_form: mean(values_at(one, rung).values()) for one in others}
    if others and all(map(math.isnan, means.values())):
        return choices
    ranked = best_first(means, plan.select_by)
    title = ONE_CLASS[plan.select_by]
    dropped = dict(choices.dropped)
    for place, form in enumerate(ranked, start=1):
        if place > math.ceil(len(ranked) / 2):
            where = f"place {place} of {len(ranked)} on the held-out images"
            reached = NO_VALUE if math.isnan(means[form]) else title.text(means[form])
            dropped[form] = f"after epoch {rung}, {where} ({reached})"
    return dataclasses.replace(choices, rungs=(*choices.rungs, rung), dropped=dropped)


def select_values(plan: Plan, choices: Choices, values_of: Callable[[Candidate], Mapping[int, float]]) -> Choices:
    """Choose the best loss of each grid by its mean on the held-out images.

    Args:
        plan: of the comparison.
        choices: made before.
        values_of: a loss's held-out values of `plan.select_by` by seed, in the last epoch; none where it failed.

    Returns:
        the choices; a grid whose losses have all failed is left to choose from later.
    """
    title = ONE_CLASS[plan.select_by]
    selected, not_selected = dict(choices.selected), dict(choices.not_selected)
    for grid in dict.fromkeys(one.grid for one in kept(plan, choices) if one.grid):
        of_grid = [one for one in kept(plan, choices) if one.grid == grid]
        means = {one.full_form: mean(values_of(one).values()) for one in of_grid}
        ranked = best_first(means, plan.select_by)
        if math.isnan(means[ranked[0]]):
            continue
        selected[grid] = ranked[0]
        for one in of_grid:
            # One that is also among --losses, or the baseline, is compared in its own right.
            if one.full_form != ranked[0] and not one.listed:
                value = means[one.full_form]
                reached = NO_VALUE if math.isnan(value) else f"{title.text(value)} on the held-out images"
                not_selected[one.full_form] = f"{reached}, {title.value(means[ranked[0]])} with the selected value"
    return dataclasses.replace(choices, selected=selected, not_selected=not_selected)


def mean(values: Iterable[float]) -> float:
    """The mean; NaN without values, or where one is NaN."""
    found = list(values)
    return float(np.mean(found)) if found else math.nan


def best_first(means: Mapping[str, float], metric: str) -> list[str]:
    """The names by their mean, the best first; NaN counts as worst, and ties keep their order."""
    sign = 1 if metric in LOWER_IS_BETTER else -1
    return sorted(means, key=lambda name: math.inf if math.isnan(means[name]) else sign * means[name])


def held_out_value(epoch: Mapping[str, Any], metric: str) -> float:
    """A metric of an epoch of a record's history; of the EMA where there is one."""
    value = epoch.get(f"eval_{metric}_ema", epoch.get(f"eval_{metric}"))
    return math.nan if value is None else value
