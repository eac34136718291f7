"""The plot of a model's scores of its own and of another data set's images."""

from __future__ import annotations

import os
from collections.abc import Mapping
from typing import Any

import numpy as np

from sosr_timm.metrics.plots import legend_below, new_plot, save_plot
from sosr_timm.metrics.risk_plot import COLOURS

BINS = 40


def ood_plot(
    path: str | os.PathLike,
    panels: Mapping[str, tuple[tuple[np.ndarray, np.ndarray], Mapping[str, Any]]],
    names: tuple[str, str],
    title: str,
) -> None:
    """Draw a histogram of each score, the own data set's images over the other one's.

    Args:
        path: of the PNG; written completely or not at all.
        panels: name of the score -> ((N,) own and (M,) other scores, what `detection` gives).
        names: of the own and of the other data set.
        title: of the plot.
    """
    figure = new_plot(title, (8.2, 6.0))
    for axes, (name, (scores, told)) in zip(figure.subplots(2, 2).flat, panels.items(), strict=True):
        edges = np.histogram_bin_edges(np.concatenate(scores), BINS)
        for values, label, colour, hatch in zip(scores, names, COLOURS, (None, "///"), strict=False):
            shares = np.histogram(values, edges)[0] / len(values)
            axes.stairs(shares, edges, fill=True, color=colour, alpha=0.35, hatch=hatch, label=label)
            axes.stairs(shares, edges, color=colour, linewidth=1.2)
        axes.set_title(f"AUROC {told['auroc']:.4f}, FPR95 {told['fpr95']:.4f}", fontsize=10)
        axes.set(xlabel="minus entropy (nats)" if name == "entropy" else name, ylabel="share of images")
        axes.spines[["top", "right"]].set_visible(False)
    legend_below(figure, widest=3.0)
    save_plot(figure, path)
