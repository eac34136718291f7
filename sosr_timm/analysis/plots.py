"""The style of the analyses' plots: legible at half a page's width, for any vision and in black and white."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np

from sosr_timm.metrics.plots import legend_below
from sosr_timm.metrics.risk_plot import COLOURS, DASHES

PANEL = (4.6, 3.7)  # inches of one panel
SMALL = (3.5, 3.0)  # of one of two side by side, legible at half a page's width
PALE = 0.2  # opacity of a band


def style(number: int) -> dict[str, Any]:
    """Colour and dashes of the curve with this number."""
    return {"color": COLOURS[number % len(COLOURS)], "linestyle": DASHES[number % len(DASHES)]}


def plain_axes(axes: Any, xlabel: str, ylabel: str, title: str = "") -> None:
    """Labels, a pale grid, and no frame on the right and above."""
    axes.set_xlabel(xlabel, fontsize=11)
    axes.set_ylabel(ylabel, fontsize=11)
    axes.tick_params(labelsize=10)
    if title:
        axes.set_title(title, fontsize=11)
    axes.grid(alpha=0.3)
    axes.spines[["top", "right"]].set_visible(False)


def band(
    axes: Any, x: Sequence[float], runs: Sequence[Sequence[float | None]], label: str, **words: Any
) -> tuple[np.ndarray, np.ndarray]:
    """The mean curve of several runs, and around it three standard deviations; one run has no band.

    Args:
        axes: to draw on.
        x: of the points.
        runs: (R, len(x)), one curve for each seed; None where a curve has no point.
        label: for the legend.
        **words: of the line.

    Returns:
        mean and standard deviation (of a sample, NaN for one run), both (len(x),).
    """
    values = np.array([[np.nan if value is None else value for value in run] for run in runs], dtype=np.float64)
    mean, deviation = mean_and_deviation(values)
    axes.plot(x, mean, label=label, linewidth=1.8, **words)
    if len(values) > 1:
        axes.fill_between(
            x, mean - 3 * deviation, mean + 3 * deviation, alpha=PALE, color=words.get("color"), linewidth=0
        )
    return mean, deviation


def mean_and_deviation(values: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Mean and standard deviation over the runs, (R, E) -> (E,); NaN where a run has no value.

    The deviation is that of a sample, divided by R - 1; NaN for one run.
    """
    mean = values.mean(axis=0)
    deviation = values.std(axis=0, ddof=1) if len(values) > 1 else np.full_like(mean, np.nan)
    return mean, deviation


def whole_numbers(axes: Any) -> None:
    """Ticks of the x axis at whole numbers only."""
    from matplotlib.ticker import MaxNLocator

    axes.xaxis.set_major_locator(MaxNLocator(integer=True, nbins=7))


def legend_under(figure: Any) -> None:
    """One legend below all axes, in as many columns as its longest name allows."""
    labels = [label for axes in figure.axes for label in axes.get_legend_handles_labels()[1]]
    legend_below(figure, widest=0.6 + 0.07 * max(map(len, labels), default=1))


def square_limits(axes: Any, points: Sequence[np.ndarray]) -> None:
    """The same limits on both axes, which hold all (N, 2) points, so that distances are true in every direction."""
    every = np.concatenate(points)
    low, high = every.min(axis=0), every.max(axis=0)
    half, centre = 0.54 * float((high - low).max()), (high + low) / 2
    axes.set(xlim=(centre[0] - half, centre[0] + half), ylim=(centre[1] - half, centre[1] + half))
    axes.set_aspect("equal", adjustable="box")


def legend_names(titles: Mapping[str, Sequence[Any]]) -> dict[str, str]:
    """Title -> title with the number of seeds where there are several."""
    return {title: f"{title} ({len(runs)} seeds)" if len(runs) > 1 else title for title, runs in titles.items()}
