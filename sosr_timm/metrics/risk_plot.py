"""The risk-coverage plot: error rate among the most confident predictions, by how many of them are accepted."""

from __future__ import annotations

import os
from collections.abc import Mapping
from typing import Any

from sosr_timm.metrics.plots import legend_below, new_plot, save_plot

# Okabe and Ito's colours, told apart by people with any vision, and a dash pattern each for black and white.
COLOURS = ("#0072B2", "#D55E00", "#009E73", "#CC79A7", "#E69F00", "#56B4E9", "#000000")
DASHES = ("-", "--", "-.", ":", (0, (5, 1, 1, 1, 1, 1)), (0, (3, 1)), (0, (1, 3)))


def risk_coverage_plot(path: str | os.PathLike, curves: Mapping[str, Mapping[str, Any]], title: str) -> None:
    """Draw risk-coverage curves, the complete range on the left and coverage from 80 % on the right.

    Args:
        path: of the PNG; written completely or not at all.
        curves: name -> `coverage` and `risk` of equal length, fractions, and `aurc`.
        title: of the plot.
    """
    from matplotlib.ticker import PercentFormatter

    figure = new_plot(title, (9.2, 4.9))
    for axes, least in zip(figure.subplots(1, 2), (0.0, 0.8), strict=True):
        for number, (name, curve) in enumerate(curves.items()):
            style = {"color": COLOURS[number % len(COLOURS)], "linestyle": DASHES[number % len(DASHES)]}
            shown = [(c, r) for c, r in zip(curve["coverage"], curve["risk"], strict=True) if c >= least]
            axes.plot(*zip(*shown, strict=True), linewidth=1.7, label=f"{name} (AURC {curve['aurc']:.5f})", **style)
        axes.set(xlim=(least, 1.0), xlabel="coverage (share of images accepted)", ylabel="risk (error rate)")
        axes.set_title("all coverages" if least == 0 else f"coverage from {least:.0%}", fontsize=10)
        if least == 0:
            axes.set_ylim(bottom=0.0)
        axes.set_xticks([least + (1 - least) * part / 4 for part in range(5)])
        axes.xaxis.set_major_formatter(PercentFormatter(1.0, decimals=0))
        axes.yaxis.set_major_formatter(PercentFormatter(1.0))
        axes.grid(alpha=0.3)
        axes.spines[["top", "right"]].set_visible(False)
    longest = max(len(line.get_label()) for line in figure.axes[0].lines)
    legend_below(figure, widest=max(3.0, 0.6 + 0.075 * longest))
    save_plot(figure, path)
