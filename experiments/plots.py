"""Plots of tables: rows with their intervals, learning curves, a grid of two hyper-parameters."""

from __future__ import annotations

import os
from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np

from sosr_timm.metrics.plots import BLUE, GREY, RED, legend_below, new_plot, save_plot
from sosr_timm.runner.statistics import Mean

MOST_CURVES = 10  # as many colours as can be told apart


def rows_plot(
    path: str | os.PathLike,
    title: str,
    best: Mapping[str, Mean],
    last: Mapping[str, Mean],
    curves: Mapping[str, Sequence[float]],
    metric: str,
) -> None:
    """Plot each row's best and last value with its interval, and the learning curves if there are several epochs.

    Args:
        path: of the PNG, replaced in one step.
        title: of the plot.
        best: row -> value of the best epoch.
        last: row -> value of the last epoch.
        curves: row -> mean top-1 % after each epoch.
        metric: its title.
    """
    from matplotlib.ticker import MaxNLocator

    shown = {name: curve for name, curve in curves.items() if len(curve) > 1}
    with_curves = 0 < len(shown) <= MOST_CURVES
    lines_of_legend = 0.25 * (2 + len(shown) * with_curves) / 2
    figure = new_plot(title, (11 if with_curves else 6.5, 0.32 * len(best) + 2.2 + lines_of_legend))
    panels = figure.subplots(1, 2 if with_curves else 1, squeeze=False)[0]
    places = np.arange(len(best))[::-1]
    for shift, means, colour, title in ((0.14, best, BLUE, "best epoch"), (-0.14, last, RED, "last epoch")):
        panels[0].errorbar(
            [mean.value for mean in means.values()],
            places + shift,
            xerr=[mean.half_width or 0.0 for mean in means.values()],
            fmt="o",
            color=colour,
            markersize=4,
            capsize=2,
            linewidth=1,
            label=title,
        )
    panels[0].set_yticks(places, list(best), fontsize=8)
    panels[0].set(xlabel=f"{metric}, mean and 95 % interval", ylim=(-0.6, len(best) - 0.4))
    panels[0].set_title("best and last epoch", fontsize=10)
    panels[0].grid(axis="x", color="#dddddd", linewidth=0.6)
    if with_curves:
        for name, curve in shown.items():
            panels[1].plot(np.arange(len(curve)), curve, marker="o", markersize=3, linewidth=1.2, label=name)
        panels[1].set(xlabel="evaluated epoch", ylabel="top-1 %, mean over seeds")
        panels[1].xaxis.set_major_locator(MaxNLocator(integer=True))
        panels[1].set_title("learning curves", fontsize=10)
        panels[1].grid(color="#dddddd", linewidth=0.6)
    for axes in panels:
        axes.spines[["top", "right"]].set_visible(False)
    legend_below(figure, widest=3.0)
    save_plot(figure, path)


def grid_plot(
    path: str | os.PathLike,
    title: str,
    names: tuple[str, str],
    values: Mapping[tuple[Any, Any], Mean],
    reference: Mean | None,
    metric: str,
) -> None:
    """A cell for each pair of values of two hyper-parameters, with the value as colour and number.

    Args:
        path: of the PNG, replaced in one step.
        title: of the plot.
        names: of the two hyper-parameters, down and across.
        values: (down, across) -> value; a pair without one stays empty.
        reference: value of the row that the grid is compared with.
        metric: its title.
    """
    down, across = (sorted({pair[axis] for pair in values}) for axis in (0, 1))
    field = np.array([[values[a, b].value if (a, b) in values else np.nan for b in across] for a in down])
    figure = new_plot(title, (1.25 * len(across) + 2.6, 0.75 * len(down) + 2.2))
    axes = figure.subplots()
    image = axes.imshow(field, cmap="viridis", aspect="auto")
    figure.colorbar(image, ax=axes, label=metric)
    middle = (np.nanmin(field) + np.nanmax(field)) / 2
    for (row, column), value in np.ndenumerate(field):
        if np.isfinite(value):
            mean = values[down[row], across[column]]
            text = f"{mean.value:.2f}" + (f"\n± {mean.half_width:.2f}" if mean.half_width is not None else "")
            colour = "black" if value > middle else "white"
            axes.text(column, row, text, ha="center", va="center", fontsize=8, color=colour)
    axes.set_xticks(range(len(across)), [str(value) for value in across])
    axes.set_yticks(range(len(down)), [str(value) for value in down])
    axes.set(xlabel=names[1], ylabel=names[0])
    if reference is not None:
        axes.set_title(f"without it: {reference}", fontsize=9, color=GREY)
    save_plot(figure, path)
