"""A published metric's name -> our figure for it, from the metrics of an epoch."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass


@dataclass(frozen=True)
class Measure:
    """How a figure is read off an epoch's metrics.

    Attributes:
        title: with its unit.
        of: gives the figure from the metrics by name; NaN stays NaN.
        higher_is_better: or lower.
    """

    title: str
    of: Callable[[Mapping[str, float]], float]
    higher_is_better: bool


def figure_of(metrics: Mapping[str, float], name: str) -> float:
    """A metric, where the run kept an average of the weights that of the average, which also chose the best epoch."""
    return metrics.get(f"{name}_ema", metrics[name])


TOP1 = Measure("top-1 %", lambda metrics: figure_of(metrics, "top1"), True)
TOP5 = Measure("top-5 %", lambda metrics: figure_of(metrics, "top5"), True)
ERROR1 = Measure("top-1 error %", lambda metrics: 100 - figure_of(metrics, "top1"), False)
ERROR5 = Measure("top-5 error %", lambda metrics: 100 - figure_of(metrics, "top5"), False)
ECE = Measure("ECE %", lambda metrics: 100 * figure_of(metrics, "ece"), False)
MEASURES = {
    "top1": TOP1,
    "top1_best": TOP1,
    "overall": TOP1,
    "top5_at_best_top1": TOP5,
    "top1_err": ERROR1,
    "top1_err_best": ERROR1,
    "top5_err": ERROR5,
    "ece_percent": ECE,
}


def metric_of(metric: str) -> Measure | None:
    """The measure for a published metric; None where a training run does not give that figure."""
    return MEASURES.get(metric)
