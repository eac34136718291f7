"""How many training images are over-confident, and how complex they are: figure 1 of the SOSR paper."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from sosr_timm.analysis.plots import (
    SMALL,
    band,
    legend_names,
    legend_under,
    mean_and_deviation,
    plain_axes,
    style,
    whole_numbers,
)
from sosr_timm.analysis.recorded import Recorded, recorded_runs
from sosr_timm.analysis.registry import AnalyzeOptions, Result, analysis
from sosr_timm.analysis.subjects import Subject
from sosr_timm.distributed.processes import Processes
from sosr_timm.errors import UserError
from sosr_timm.metrics.plots import new_plot, save_plot
from sosr_timm.options.fields import flag
from sosr_timm.training.confidence import THRESHOLDS


@dataclass
class OverconfidenceOptions:
    threshold: tuple[float, ...] = flag(
        (), f"values of p to draw, of {' '.join(f'{p:g}' for p in THRESHOLDS)}; all for one run, 0.99 for several"
    )
    clean: bool = flag(False, "the counts of the pass over clean images, which train.py makes on request")


def curves_of(recorded: dict[str, Recorded], thresholds: tuple[float, ...], prefix: str) -> list[dict[str, Any]]:
    """Mean and deviation of both quantities, by title, threshold and epoch.

    Args:
        recorded: of the runs by title.
        thresholds: values of p.
        prefix: of the columns: "" or "clean_".

    Returns:
        rows with `count` (images above p), `share` of all samples, `entropy` (mean, bits; None where no image is
        above p), and the standard deviations over the seeds (None for one seed).
    """
    rows = []
    for title, found in recorded.items():
        samples = np.array(found.column(f"{prefix}samples"), dtype=np.float64)
        for p in thresholds:
            counts = as_array(found.column(f"{prefix}above_{p:g}"))
            entropies = as_array(found.column(f"{prefix}entropy_{p:g}"))
            values = {"count": counts, "share": counts / samples, "entropy": entropies}
            means = {name: mean_and_deviation(value) for name, value in values.items()}
            for place, epoch in enumerate(found.epochs):
                row = {"run": title, "p": p, "epoch": epoch, "seeds": len(found.runs)}
                for name, (mean, deviation) in means.items():
                    row |= {name: or_none(mean[place]), f"{name}_std": or_none(deviation[place])}
                rows.append(row)
    return rows


def as_array(columns: list[list[float | None]]) -> np.ndarray:
    """(R, E) float64, NaN for None."""
    return np.array([[np.nan if value is None else value for value in run] for run in columns], dtype=np.float64)


def or_none(value: float) -> float | None:
    """A number for JSON: None for NaN."""
    return None if np.isnan(value) else float(value)


@analysis(
    "overconfidence",
    "training images with p_y > p, and their mean entropy, by epoch",
    "SOSR, figure 1",
    OverconfidenceOptions,
    joins_seeds=True,
)
def overconfidence(subjects: list[Subject], options: AnalyzeOptions, processes: Processes) -> Result:
    """Read what the runs recorded; runs that differ in their seed become one curve with a band of 3 deviations."""
    for p in options.analysis.threshold:
        if p not in THRESHOLDS:
            raise UserError(f"--threshold {p:g}: recorded are {', '.join(f'{one:g}' for one in THRESHOLDS)}")
    clean = options.analysis.clean
    prefix = "clean_" if clean else ""
    advice = "--record-confidence clean" if clean else "--record-confidence"
    recorded = recorded_runs(subjects, f"{prefix}above_{THRESHOLDS[0]:g}", advice)
    thresholds = tuple(options.analysis.threshold) or (THRESHOLDS if len(recorded) == 1 else THRESHOLDS[-1:])
    rows = curves_of(recorded, thresholds, prefix)
    forward = "evaluation mode, images without augmentation" if clean else "training step"
    record = {"forward": forward, "band": "3 standard deviations over seeds", "curves": rows}
    return Result(record, rows, {"overconfidence.png": lambda path: draw(path, recorded, thresholds, prefix, forward)})


def draw(path: Path, recorded: dict[str, Recorded], thresholds: tuple[float, ...], prefix: str, forward: str) -> None:
    """Two panels: number of images, and their mean entropy, by epoch."""
    names = legend_names({title: found.runs for title, found in recorded.items()})
    figure = new_plot(f"Over-confident training images ({forward})", (2 * SMALL[0], SMALL[1] + 0.8))
    left, right = figure.subplots(1, 2, sharex=True)
    for axes, quantity in ((left, "above"), (right, "entropy")):
        number = 0
        for title, found in recorded.items():
            for p in thresholds:
                label = " ".join(
                    filter(
                        None, (names[title] if len(recorded) > 1 else "", f"p = {p:g}" if len(thresholds) > 1 else "")
                    )
                )
                marker = {"marker": "."} if len(found.epochs) == 1 else {}
                band(
                    axes,
                    found.epochs,
                    found.column(f"{prefix}{quantity}_{p:g}"),
                    label or names[title],
                    **style(number),
                    **marker,
                )
                number += 1
        whole_numbers(axes)
    which = f" > {thresholds[0]:g}" if len(thresholds) == 1 else " > p"
    plain_axes(left, "epoch", "number of images", f"images with $p_y${which}")
    plain_axes(right, "epoch", "mean entropy (bits)", f"entropy of images with $p_y${which}")
    left.set_ylim(bottom=0)
    legend_under(figure)
    save_plot(figure, path)
