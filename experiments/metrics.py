"""How a published metric is computed from the metrics of an epoch of ours."""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping
from dataclasses import dataclass

from sosr_timm.metrics.shots import GROUPS
from sosr_timm.metrics.titles import DETECTION, ONE_CLASS


@dataclass(frozen=True)
class Metric:
    """How a value is computed from the metrics of an epoch.

    Attributes:
        title: name and unit.
        of: computes the value from the metrics by name; NaN stays NaN.
        higher_is_better: False where lower is better.
    """

    title: str
    of: Callable[[Mapping[str, float]], float]
    higher_is_better: bool


def value_of(metrics: Mapping[str, float], name: str) -> float:
    """A metric by name; of the EMA weights if the run has them, because they also selected the best epoch.

    NaN where a run does not measure it: a detector has no NLL.
    """
    return metrics.get(f"{name}_ema", metrics.get(name, math.nan))


TOP1 = Metric(ONE_CLASS["top1"].heading, lambda metrics: value_of(metrics, "top1"), True)
TOP5 = Metric(ONE_CLASS["top5"].heading, lambda metrics: value_of(metrics, "top5"), True)
ERROR1 = Metric(f"{ONE_CLASS['top1'].name} error %", lambda metrics: 100 - value_of(metrics, "top1"), False)
ERROR5 = Metric(f"{ONE_CLASS['top5'].name} error %", lambda metrics: 100 - value_of(metrics, "top5"), False)
NLL = Metric(ONE_CLASS["loss"].heading, lambda metrics: value_of(metrics, "loss"), False)
ECE = Metric(ONE_CLASS["ece"].heading, lambda metrics: value_of(metrics, "ece"), False)
ECE_PERCENT = Metric(f"{ONE_CLASS['ece'].name} %", lambda metrics: 100 * value_of(metrics, "ece"), False)
# By MaxSup's names of the groups. A run has no accuracy of a group without classes; NaN then.
SHOTS = {
    published: Metric(
        f"{published} {TOP1.title}", lambda metrics, name=name: metrics.get(f"top1_{name}", math.nan), True
    )
    for published, name in zip(("many", "medium", "low"), GROUPS, strict=True)
}
MAP = Metric(DETECTION["map_11point"].heading, lambda metrics: value_of(metrics, "map_11point"), True)
METRICS = {
    "top1": TOP1,
    "top1_best": TOP1,
    "overall": TOP1,
    **SHOTS,
    "top5_at_best_top1": TOP5,
    "top1_err": ERROR1,
    "top1_err_best": ERROR1,
    "top5_err": ERROR5,
    "ece_percent": ECE_PERCENT,
    "map": MAP,
}


def metric_of(metric: str) -> Metric | None:
    """The metric for a published name; None if a training run does not measure it."""
    return METRICS.get(metric)
