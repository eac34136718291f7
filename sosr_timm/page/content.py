"""What a page shows: groups of runs that differ in their seeds only, and the runs with their epochs."""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Any

from sosr_timm.metrics.titles import MANY_LABELS, ONE_CLASS, Title

EPOCHS = {"last": "Last epoch", "best": "Best epoch"}
ABOVE = re.compile(r"confidence_(clean_)?above_(0\.\d+)")  # columns of confidence.csv, in a history


@dataclass(frozen=True)
class Run:
    """One run.

    Attributes:
        group: label of its group.
        seed: of the run.
        name: of its folder or record.
        state: in words, as "complete" or "3 of 20 epochs".
        history: values of each epoch.
        evaluation: "best" and "last" -> `reliability`, `reliability_scaled`, `risk_coverage`, those that there are.
        command: the command line.
        environment: hardware and versions.
        seconds: of training; None while it is not complete.
    """

    group: str
    seed: int
    name: str
    state: str
    history: list[dict[str, Any]]
    evaluation: dict[str, dict[str, Any]]
    command: str
    environment: dict[str, Any]
    seconds: float | None


@dataclass(frozen=True)
class Group:
    """Runs that differ in their seeds only.

    Attributes:
        label: short and unique.
        full_form: the loss in its full form.
        status: "complete" or what else it is.
        reason: why, where it is not complete.
        seeds: of the runs with values.
        values: "last" and "best" -> metric -> `mean`, `half_width`, `n`, `values` by seed and, in a comparison,
            `difference` to the baseline with `mean`, `half_width`, `n`, `p` and `p_holm`.
        seconds: `mean`, `half_width` and `n` of the seconds of training; {} where unknown.
    """

    label: str
    full_form: str
    status: str
    reason: str
    seeds: list[int]
    values: dict[str, dict[str, Any]]
    seconds: dict[str, Any] = field(default_factory=dict)


@dataclass(frozen=True)
class Content:
    """All that a page shows.

    Attributes:
        title: of the page.
        summary: sentences.
        notes: how the values came about.
        facts: name and value of what holds for all runs.
        metrics: of the tables, by name.
        groups: in order.
        runs: in the order of the groups and seeds.
        baseline: label of the group that others are compared with; "" where nothing is compared.
        same: options that all runs have, with their values.
        different: option -> label of a group -> its value.
        complete: no run is under way or missing.
    """

    title: str
    summary: list[str]
    notes: list[str]
    facts: list[tuple[str, str]]
    metrics: dict[str, Title]
    groups: list[Group]
    runs: list[Run]
    baseline: str
    same: dict[str, Any]
    different: dict[str, dict[str, Any]]
    complete: bool

    def runs_of(self, group: Group) -> list[Run]:
        """The runs of a group."""
        return [run for run in self.runs if run.group == group.label]


@dataclass(frozen=True)
class Curve:
    """A value over something, of one group: the mean over its seeds, and the lowest and the highest seed.

    Attributes:
        index: of the group.
        x: where there are values.
        mean: there.
        low: the lowest seed.
        high: the highest seed.
        n: how many seeds.
    """

    index: int
    x: list[float]
    mean: list[float]
    low: list[float]
    high: list[float]
    n: list[int]


@dataclass(frozen=True)
class Quantity:
    """What a chart of epochs shows.

    Attributes:
        name: short, for identifiers.
        title: in words, with the unit.
        key: of a history's epoch.
        over: key of what it is a share of, in percent; "" where it is shown as it is.
    """

    name: str
    title: str
    key: str
    over: str = ""

    def of(self, epoch: dict[str, Any]) -> float | None:
        """Its value in an epoch; None where the epoch has none."""
        value, whole = epoch.get(self.key), epoch.get(self.over) if self.over else 1
        if not isinstance(value, (int, float)) or not whole:
            return None
        return 100 * value / whole if self.over else float(value)


def quantities(content: Content) -> list[Quantity]:
    """What the histories of the runs have that a chart can show: metrics, training loss, over-confidence."""
    keys = {key for run in content.runs for epoch in run.history for key, value in epoch.items() if value is not None}
    known = [Quantity(name, in_words(title), f"eval_{name}") for name, title in content.metrics.items()]
    known.append(Quantity("train_loss", "Training loss", "train_loss"))
    others = sorted(key for key in keys if key.startswith("eval_") and key not in {one.key for one in known})
    titles = {f"eval_{name}": in_words(title) for name, title in (MANY_LABELS | ONE_CLASS).items()}
    spoken = {key: titles.get(key, key.removeprefix("eval_").replace("_", " ")) for key in others}
    known += [Quantity(key, spoken[key], key) for key in others if not key.endswith("_raw")]
    return [one for one in known if one.key in keys]


def confidence_quantities(content: Content) -> list[Quantity]:
    """What --record-confidence recorded, of the runs' histories."""
    keys = {key for run in content.runs for epoch in run.history for key, value in epoch.items() if value is not None}
    known = []
    found = [match for key in keys if (match := ABOVE.fullmatch(key))]
    for match in sorted(found, key=lambda match: (match[1] or "", -float(match[2]))):
        where = "clean images" if match[1] else "training step"
        title = f"Training samples with p > {match[2]} for their label, {where} (%)"
        known.append(Quantity(match[0], title, match[0], "confidence_samples"))
    known.append(Quantity("gradient_norm", "Gradient norm at the logits", "confidence_gradient_norm"))
    return [one for one in known if one.key in keys]


def in_words(title: Title) -> str:
    """A metric's name in words with its unit."""
    name = title.full or title.name
    return f"{name} ({title.unit})" if title.unit else name


def epoch_curves(content: Content, quantity: Quantity) -> list[Curve]:
    """A quantity over the epochs, counted from 1, of each group that has it."""
    found = []
    for index, group in enumerate(content.groups):
        values: dict[float, list[float]] = {}
        for run in content.runs_of(group):
            for epoch in run.history:
                value = quantity.of(epoch)
                if value is not None:
                    values.setdefault(epoch["epoch"] + 1, []).append(value)
        if values:
            found.append(curve_of(index, values))
    return found


def curve_of(index: int, values: dict[float, list[float]]) -> Curve:
    """The mean and the range of several values at each place."""
    places = sorted(values)
    rows = [values[place] for place in places]
    means = [sum(row) / len(row) for row in rows]
    return Curve(index, places, means, [min(row) for row in rows], [max(row) for row in rows], [len(r) for r in rows])


def risk_curves(content: Content, epoch: str) -> list[Curve]:
    """The error rate in percent at each coverage in percent, of each group that was evaluated."""
    found = []
    for index, group in enumerate(content.groups):
        values: dict[float, list[float]] = {}
        for run in content.runs_of(group):
            curve = run.evaluation.get(epoch, {}).get("risk_coverage")
            for coverage, risk in zip(curve["coverage"], curve["risk"], strict=True) if curve else ():
                values.setdefault(100 * coverage, []).append(100 * risk)
        if values:
            found.append(curve_of(index, values))
    return found


@dataclass(frozen=True)
class Reliability:
    """The bins of a group's predictions over all its seeds.

    Attributes:
        index: of the group.
        confidence: mean of each bin that has predictions.
        accuracy: of each of them.
        share: of all predictions, of each of them.
    """

    index: int
    confidence: list[float]
    accuracy: list[float]
    share: list[float]


def reliabilities(content: Content, epoch: str, name: str) -> list[Reliability]:
    """The reliability of each group that was evaluated; bins of the seeds are added up.

    Args:
        content: of the page.
        epoch: "last" or "best".
        name: "reliability", or "reliability_scaled" after temperature scaling.
    """
    found = []
    for index, group in enumerate(content.groups):
        tables = [run.evaluation.get(epoch, {}).get(name) for run in content.runs_of(group)]
        bins = merged_bins([table for table in tables if table])
        if bins:
            total = sum(count for _, _, count in bins)
            found.append(
                Reliability(index, [c for c, _, _ in bins], [a for _, a, _ in bins], [n / total for _, _, n in bins])
            )
    return found


def merged_bins(tables: Sequence[dict[str, Any]]) -> list[tuple[float, float, int]]:
    """Mean confidence, accuracy and count of each bin with predictions, over several tables with the same edges."""
    found = []
    for place in range(max((len(table["count"]) for table in tables), default=0)):
        bins = [table for table in tables if place < len(table["count"]) and table["count"][place]]
        count = sum(table["count"][place] for table in bins)
        if count:
            confidence, accuracy = (
                sum(table[key][place] * table["count"][place] for table in bins) / count
                for key in ("confidence", "accuracy")
            )
            found.append((confidence, accuracy, count))
    return found
