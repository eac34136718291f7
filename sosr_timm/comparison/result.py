"""The result of a comparison from its records: comparison.json, which the report and the page are made of."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from sosr_timm.comparison.plan import Candidate, Plan
from sosr_timm.comparison.statistics import holm, spread_of
from sosr_timm.metrics.titles import Title
from sosr_timm.runner.comparison_file import FORMAT
from sosr_timm.runner.record import Record
from sosr_timm.runner.statistics import Mean, mean_of, paired

EPOCHS = ("last", "best")
# Of the images of an evaluation: name -> how people read it.
QUALITY = {
    "top1": Title("top-1", 2, "%", "Top-1 accuracy"),
    "loss": Title("NLL", 4, full="Negative log-likelihood (nats)", lower_is_better=True),
    "ece": Title("ECE", 4, full="Expected calibration error", lower_is_better=True),
    "ece_scaled": Title("ECE scaled", 4, full="ECE after temperature scaling", lower_is_better=True),
    "aurc": Title("AURC", 5, full="Area under the risk-coverage curve", lower_is_better=True),
}
# Of the last epoch's training samples.
OVER_CONFIDENT = "over_confident"
TRAINING = {OVER_CONFIDENT: Title("over-confident", 1, "%", "Over-confident training samples", lower_is_better=True)}
SECONDS = Title("seconds", 0, full="Seconds of training", lower_is_better=True)
COMPLETE, RUNNING, FAILED, DROPPED, NOT_SELECTED = "complete", "incomplete", "failed", "dropped", "not selected"


@dataclass(frozen=True)
class State:
    """How far a loss is.

    Attributes:
        status: one of the constants above.
        reason: in words; "" where the status says it all.
    """

    status: str
    reason: str = ""


def result_of(plan: Plan, records: Sequence[Record], states: Mapping[str, State]) -> dict[str, Any]:
    """The content of comparison.json, without the sentences.

    Args:
        plan: of the comparison.
        records: of finished runs.
        states: of every loss.
    """
    by_loss: dict[str, dict[int, Record]] = {one.loss: {} for one in plan.losses}
    for record in records:
        loss = record.row.get("method", "")
        if loss in by_loss:
            by_loss[loss][record.run.seed] = record
    # What was dropped, or not selected, is in no average.
    shown = [one for one in plan.losses if states[one.loss].status in (COMPLETE, RUNNING, FAILED)]
    tables = {epoch: table(plan, shown, by_loss, epoch) for epoch in EPOCHS}
    return {
        "format": FORMAT,
        "kind": "comparison",
        "name": plan.name,
        "complete": all(state.status not in (RUNNING, FAILED) for state in states.values()),
        "summary": [],
        "notes": [],
        "baseline": plan.baseline,
        "epochs": plan.epochs,
        "data": plan.data,
        "evaluated_on": evaluated_on(plan),
        "recipe": plan.recipe,
        "options": plan.options,
        "metrics": {name: described(title) for name, title in (QUALITY | TRAINING).items()},
        "losses": [
            {
                "loss": one.loss,
                "full_form": one.full_form,
                "grid": one.grid,
                "status": states[one.loss].status,
                "reason": states[one.loss].reason,
                "seeds": sorted(by_loss[one.loss]),
                **{epoch: tables[epoch].get(one.loss, {}) for epoch in EPOCHS},
            }
            for one in plan.losses
        ],
        "detectable": {epoch: detectable(plan, shown, by_loss, epoch) for epoch in EPOCHS},
        "cost": cost(plan, shown, by_loss),
    }


def described(title: Title) -> dict[str, Any]:
    """A metric for readers of the file."""
    return {
        "name": title.name,
        "unit": title.unit,
        "title": title.full,
        "digits": title.digits,
        "lower_is_better": title.lower_is_better,
    }


def evaluated_on(plan: Plan) -> str:
    """The images that the tables are about, in words."""
    if plan.select_on is not None:
        return f"{plan.data['test_images']:,} test images, looked at once, after all choices"
    return f"{plan.data['evaluation_images']:,} evaluation images"


def table(
    plan: Plan, losses: Sequence[Candidate], by_loss: Mapping[str, Mapping[int, Record]], epoch: str
) -> dict[str, dict[str, Any]]:
    """loss -> metric -> mean, interval, values by seed and the paired difference to the baseline."""
    found: dict[str, dict[str, Any]] = {one.loss: {} for one in losses}
    for name in (*QUALITY, *(TRAINING if epoch == "last" else ())):
        values = {one.loss: values_of(plan, by_loss[one.loss], name, epoch) for one in losses}
        compared = {}
        for one in losses:
            if values[one.loss]:
                found[one.loss][name] = {
                    **as_content(mean_of(list(values[one.loss].values()))),
                    "values": {str(seed): value for seed, value in sorted(values[one.loss].items())},
                }
            if one.loss != plan.baseline and plan.baseline in values:
                compared[one.loss] = paired(values[one.loss], values[plan.baseline])
        # A p-value is not defined where all differences are the same; where they are 0 there is nothing to find.
        p_values = {loss: one.p for loss, one in compared.items() if one and one.p is not None}
        corrected = holm(p_values)
        for loss, one in compared.items():
            if one:
                found[loss][name]["difference"] = {
                    **as_content(one.difference),
                    "p": one.p,
                    "p_holm": corrected.get(loss),
                }
    return found


def as_content(mean: Mean) -> dict[str, Any]:
    return {"mean": mean.value, "half_width": mean.half_width, "n": mean.n}


def values_of(plan: Plan, records: Mapping[int, Record], name: str, epoch: str) -> dict[int, float]:
    """A metric by seed; runs that do not have it, or not as a number, are left out."""
    found = {}
    for seed, record in sorted(records.items()):
        value = value_of(plan, record, name, epoch)
        if value is not None and math.isfinite(value):
            found[seed] = value
    return found


def value_of(plan: Plan, record: Record, name: str, epoch: str) -> float | None:
    """A metric of a run: on the test images where the evaluation images are held-out ones."""
    if name == OVER_CONFIDENT:
        return over_confident(record)
    evaluation = record.evaluation if plan.select_on is None else record.test
    return evaluation.get(epoch, {}).get(name)


def over_confident(record: Record) -> float | None:
    """The share in percent of the training samples whose label had a probability above 0.99 in the last epoch."""
    last = record.history[-1] if record.history else {}
    above, samples = last.get("confidence_above_0.99"), last.get("confidence_samples")
    return None if above is None or not samples else 100 * above / samples


def detectable(
    plan: Plan, losses: Sequence[Candidate], by_loss: Mapping[str, Mapping[int, Record]], epoch: str
) -> dict[str, float]:
    """metric -> the least true difference to the baseline that these seeds find with a probability of 80 %."""
    found = {}
    for name in QUALITY:
        baseline = values_of(plan, by_loss.get(plan.baseline, {}), name, epoch)
        differences = []
        for one in losses:
            values = values_of(plan, by_loss[one.loss], name, epoch)
            if one.loss != plan.baseline:
                differences.append([values[seed] - baseline[seed] for seed in values if seed in baseline])
        spread = spread_of(differences)
        if spread is not None:
            found[name] = spread.detectable
    return found


def cost(plan: Plan, losses: Sequence[Candidate], by_loss: Mapping[str, Mapping[int, Record]]) -> dict[str, Any]:
    """Seconds and machines, which are all that differs between a comparison that was stopped and one that was not."""
    records = [record for one in losses for record in by_loss[one.loss].values()]
    baseline = {seed: record.run.seconds for seed, record in by_loss.get(plan.baseline, {}).items()}
    seconds: dict[str, Any] = {}
    for one in losses:
        values = {seed: record.run.seconds for seed, record in sorted(by_loss[one.loss].items())}
        if not values:
            continue
        seconds[one.loss] = as_content(mean_of(list(values.values())))
        difference = paired(values, baseline) if one.loss != plan.baseline else None
        if difference:
            seconds[one.loss]["difference"] = {**as_content(difference.difference), "p": difference.p}
    machines = []
    for record in records:
        if record.run.environment not in machines:
            machines.append(record.run.environment)
    return {
        "seconds": seconds,
        "hours": sum(record.run.seconds for record in records) / 3600,
        "runs": len(records),
        "processes": sorted({record.run.processes for record in records}),
        "machines": machines,
    }
