"""Plots of an evaluation, as PNG files: reliability diagrams and the confusion matrix."""

from __future__ import annotations

import os
import textwrap
from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any

import numpy as np

from sosr_timm.files import replacing

if TYPE_CHECKING:
    from matplotlib.figure import Figure

BLUE, RED, GREEN, GREY = "#3b6ea5", "#c8553d", "#4c9a6a", "#555555"
LARGEST_NAMED = 30  # classes whose names fit beside a matrix
MOST_ACROSS = 3  # diagrams side by side
FEW = 10  # images in a bin whose accuracy says little


def new_plot(title: str, size: tuple[float, float]) -> Figure:
    """An empty figure with a title that fits its width.

    Args:
        title: long ones are broken.
        size: width and height in inches.
    """
    from matplotlib.figure import Figure

    figure = Figure(figsize=size, layout="constrained")
    figure.suptitle(textwrap.fill(title, int(11 * size[0])), fontsize=10)
    return figure


def legend_below(figure: Figure, widest: float = 2.1) -> None:
    """One legend for all axes below them, where it covers nothing; a name that several axes use is shown once.

    Args:
        figure: with all its axes.
        widest: inches that a name may need.
    """
    named = {}
    for axes in figure.axes:
        handles, labels = axes.get_legend_handles_labels()
        for handle, label in zip(handles, labels, strict=True):
            named.setdefault(label, handle)
    columns = max(1, int(figure.get_figwidth() / widest))
    figure.legend(named.values(), named.keys(), loc="outside lower center", ncols=columns, frameon=False, fontsize=8)


def save_plot(figure: Figure, path: str | os.PathLike) -> None:
    """Write a plot as PNG, completely or not at all, with the same bytes for the same content."""
    with replacing(path) as temporary:
        figure.savefig(temporary, format="png", dpi=110, metadata={"Software": None})


def reliability_plot(path: str | os.PathLike, panels: Mapping[str, Mapping[str, Any]], title: str) -> None:
    """A reliability diagram for each set of weights (Guo et al. 2017, arXiv 1706.04599).

    Above: accuracy of each bin of confidence, its gap to the mean confidence, and the diagonal of perfect calibration;
    bins with fewer than ten images are pale and have a star. Below: the share of the images in each bin, with the mean
    confidence and the accuracy of all.

    Args:
        path: of the PNG; written completely or not at all.
        panels: title -> what `MetricTable.compute` gives, with `MetricTable.reliability` under "reliability".
        title: of the plot.
    """
    across = min(len(panels), MOST_ACROSS)
    down = -(-len(panels) // across)
    figure = new_plot(title, (max(4.6 * across, 6.4), 5.6 * down + 0.6))
    axes = figure.subplots(2 * down, across, squeeze=False, gridspec_kw={"height_ratios": (3, 1) * down})
    for number in range(down * across):
        row, column = divmod(number, across)
        if number >= len(panels):
            axes[2 * row, column].set_visible(False)
            axes[2 * row + 1, column].set_visible(False)
            continue
        name, metrics = list(panels.items())[number]
        _bins(axes[2 * row, column], name, metrics)
        _histogram(axes[2 * row + 1, column], metrics)
        if column == 0:
            axes[2 * row, column].set_ylabel("accuracy")
            axes[2 * row + 1, column].set_ylabel("share of images")
    legend_below(figure)
    save_plot(figure, path)


def _bins(axes, name: str, metrics: Mapping[str, Any]) -> None:
    lines = metrics["reliability"]
    edges = np.asarray(lines["edges"])
    accuracy, confidence = (np.array([value or 0.0 for value in lines[key]]) for key in ("accuracy", "confidence"))
    counts = np.asarray(lines["count"])
    left, width, lower = edges[:-1], np.diff(edges), np.minimum(accuracy, confidence)
    for chosen, alpha in ((counts >= FEW, 1.0), ((counts > 0) & (counts < FEW), 0.35)):
        bars = {"align": "edge", "edgecolor": "white", "linewidth": 0.8}
        gap = {**bars, "alpha": 0.45 * alpha, "hatch": "///"}
        at, wide, low = left[chosen], width[chosen], lower[chosen]
        over, under = (np.maximum(sign * (confidence - accuracy), 0)[chosen] for sign in (1, -1))
        axes.bar(at, low, wide, color=BLUE, alpha=alpha, label="lower of accuracy and confidence", **bars)
        axes.bar(at, over, wide, low, color=RED, label="overconfident by", **gap)
        axes.bar(at, under, wide, low, color=GREEN, label="underconfident by", **gap)
        axes.hlines(accuracy[chosen], at, at + wide, color="black", alpha=alpha, linewidth=1.8, label="accuracy")
    few = (counts > 0) & (counts < FEW)
    axes.plot((0, 1), (0, 1), "--", color=GREY, linewidth=1, label="perfect calibration")
    stars = {"marker": "*", "linestyle": "none", "color": "black", "markersize": 6}
    axes.plot((left + width / 2)[few], np.full(few.sum(), 0.04), label=f"fewer than {FEW} images", **stars)
    axes.set(xlim=(0, 1), ylim=(0, 1.01))
    axes.set_title(f"{name}\nECE {metrics['ece']:.4f}, {len(counts)} bins", fontsize=10)
    axes.spines[["top", "right"]].set_visible(False)


def _histogram(axes, metrics: Mapping[str, Any]) -> None:
    lines = metrics["reliability"]
    edges, counts = np.asarray(lines["edges"]), np.asarray(lines["count"])
    shares = counts / counts.sum()
    axes.bar(edges[:-1], shares, np.diff(edges), align="edge", color="#b9c9dc", edgecolor="white", linewidth=0.8)
    total = sum(n * c for n, c in zip(counts.tolist(), lines["confidence"], strict=True) if n)
    confidence, accuracy = total / counts.sum(), metrics["top1"] / 100
    axes.axvline(confidence, color=RED, linewidth=1.2, label="mean confidence")
    axes.axvline(accuracy, color=BLUE, linestyle="--", linewidth=1.2, label="accuracy of all")
    axes.set(xlim=(0, 1), ylim=(0, 1), xlabel="confidence")
    axes.set_title(f"mean confidence {confidence:.3f}, accuracy {accuracy:.3f}", fontsize=9, color=GREY)
    axes.spines[["top", "right"]].set_visible(False)


def confusion_plot(path: str | os.PathLike, matrix: np.ndarray, names: Sequence[str] | None, title: str) -> None:
    """The confusion matrix, each row as shares of its label.

    Args:
        path: of the PNG; written completely or not at all.
        matrix: (K, K) counts, rows are labels.
        names: of the classes; without them, or above 30 of them, their numbers.
        title: of the plot.
    """
    classes = len(matrix)
    shares = matrix / np.maximum(matrix.sum(axis=1, keepdims=True), 1)
    side = min(max(4.5, 0.5 * classes + 2), 12)
    figure = new_plot(title, (side + 0.8, side))
    axes = figure.subplots()
    image = axes.imshow(shares, vmin=0, vmax=1, cmap="Blues", interpolation="nearest")
    figure.colorbar(image, ax=axes, label="share of the label's samples", shrink=0.8)
    axes.set(xlabel="guess", ylabel="label")
    if classes <= LARGEST_NAMED:
        words = list(names) if names else [str(number) for number in range(classes)]
        axes.set_xticks(range(classes), words, rotation=45, ha="right", fontsize=8)
        axes.set_yticks(range(classes), words, fontsize=8)
        for (row, column), count in np.ndenumerate(matrix):
            if count:
                colour = "white" if shares[row, column] > 0.5 else "black"
                axes.text(column, row, f"{count}", ha="center", va="center", color=colour, fontsize=6)
    save_plot(figure, path)
