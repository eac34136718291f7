"""The mean norm of the gradient at the logits: figure 2 of the SOSR paper."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from sosr_timm.analysis.overconfidence import as_array, or_none
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
from sosr_timm.metrics.plots import new_plot, save_plot


def norms_of(recorded: dict[str, Recorded]) -> list[dict[str, Any]]:
    """Mean and deviation over the seeds of the mean norm, by title and epoch."""
    rows = []
    for title, found in recorded.items():
        mean, deviation = mean_and_deviation(as_array(found.column("gradient_norm")))
        for place, epoch in enumerate(found.epochs):
            of_epoch = {"gradient_norm": or_none(mean[place]), "gradient_norm_std": or_none(deviation[place])}
            rows.append({"run": title, "epoch": epoch, "seeds": len(found.runs), **of_epoch})
    return rows


@analysis("gradients", "mean norm of the gradient at the logits, by epoch", "SOSR, figure 2", joins_seeds=True)
def gradients(subjects: list[Subject], options: AnalyzeOptions, processes: Processes) -> Result:
    """Read what the runs recorded; runs that differ in their seed become one curve with a band of 3 deviations."""
    recorded = recorded_runs(subjects, "gradient_norm")
    rows = norms_of(recorded)
    record = {
        "norm": "L2, of the gradient of a sample's own loss at its logits",
        "band": "3 standard deviations over seeds",
        "curves": rows,
    }
    return Result(record, rows, {"gradients.png": lambda path: draw(path, recorded)})


def draw(path: Path, recorded: dict[str, Recorded]) -> None:
    """One panel: the norm by epoch."""
    names = legend_names({title: found.runs for title, found in recorded.items()})
    figure = new_plot("Gradient at the logits", (SMALL[0] + 0.9, SMALL[1] + 0.8))
    axes = figure.subplots()
    for number, (title, found) in enumerate(recorded.items()):
        band(axes, found.epochs, found.column("gradient_norm"), names[title], **style(number))
    plain_axes(axes, "epoch", "mean norm per sample")
    whole_numbers(axes)
    axes.set_ylim(bottom=0)
    legend_under(figure)
    save_plot(figure, path)
