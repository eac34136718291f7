"""Pictures of an evaluation: reliability diagrams and the confusion matrix, as PNG files."""

from __future__ import annotations

import os
import textwrap
from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np

from sosr_timm.files import replacing

BLUE, RED, GREEN, GREY = "#3b6ea5", "#c8553d", "#4c9a6a", "#555555"
LARGEST_NAMED = 30  # classes whose names fit beside a matrix


def reliability_plot(path: str | os.PathLike, panels: Mapping[str, Mapping[str, Any]], title: str = "") -> None:
    """A reliability diagram for each set of weights, side by side (Guo et al. 2017, arXiv 1706.04599).

    Above: accuracy of each bin of confidence, its gap to the mean confidence, and the diagonal of perfect calibration.
    Below: the share of the samples in each bin, with the mean confidence and the accuracy of all.

    Args:
        path: of the PNG; written whole or not at all.
        panels: title -> what `MetricTable.compute` gives, with `MetricTable.reliability` under "reliability".
        title: of the whole figure.
    """
    from matplotlib.figure import Figure

    figure = Figure(figsize=(4.4 * len(panels), 5.4), layout="constrained")
    figure.suptitle(textwrap.fill(title, 45 * len(panels)), fontsize=9, color=GREY)
    axes = figure.subplots(2, len(panels), squeeze=False, sharex=True, gridspec_kw={"height_ratios": (3, 1)})
    for column, (weights, metrics) in enumerate(panels.items()):
        _bins(axes[0, column], weights, metrics)
        _histogram(axes[1, column], metrics)
        if column == 0:
            axes[0, 0].set_ylabel("accuracy")
            axes[1, 0].set_ylabel("share of samples")
    _save(figure, path)


def _bins(axes, title: str, metrics: Mapping[str, Any]) -> None:
    lines = metrics["reliability"]
    edges = np.asarray(lines["edges"])
    filled = [index for index, count in enumerate(lines["count"]) if count]
    left, width = edges[:-1][filled], np.diff(edges)[filled]
    accuracy = np.array([lines["accuracy"][index] for index in filled])
    confidence = np.array([lines["confidence"][index] for index in filled])
    bars = {"align": "edge", "edgecolor": "white", "linewidth": 0.8}
    gap = {**bars, "alpha": 0.45, "hatch": "///"}
    lower = np.minimum(accuracy, confidence)
    axes.bar(left, lower, width, color=BLUE, **bars)
    axes.bar(left, np.maximum(confidence - accuracy, 0), width, lower, color=RED, label="overconfident by", **gap)
    axes.bar(left, np.maximum(accuracy - confidence, 0), width, lower, color=GREEN, label="underconfident by", **gap)
    axes.hlines(accuracy, left, left + width, color="black", linewidth=1.8, label="accuracy")
    axes.plot((0, 1), (0, 1), "--", color=GREY, linewidth=1, label="perfect calibration")
    axes.set(xlim=(0, 1), ylim=(0, 1), title=f"{title}\nECE {metrics['ece']:.4f}, {len(edges) - 1} bins")
    axes.legend(loc="upper left", frameon=False, fontsize=8)
    axes.spines[["top", "right"]].set_visible(False)


def _histogram(axes, metrics: Mapping[str, Any]) -> None:
    lines = metrics["reliability"]
    edges, counts = np.asarray(lines["edges"]), np.asarray(lines["count"])
    shares = counts / counts.sum()
    axes.bar(edges[:-1], shares, np.diff(edges), align="edge", color="#b9c9dc", edgecolor="white", linewidth=0.8)
    total = sum(n * c for n, c in zip(counts.tolist(), lines["confidence"], strict=True) if n)
    axes.axvline(total / counts.sum(), color=RED, linewidth=1.2, label=f"confidence {total / counts.sum():.3f}")
    axes.axvline(
        metrics["top1"] / 100, color=BLUE, linestyle="--", linewidth=1.2, label=f"accuracy {metrics['top1'] / 100:.3f}"
    )
    axes.set(ylim=(0, 1), xlabel="confidence")
    axes.legend(loc="upper left", frameon=False, fontsize=8)
    axes.spines[["top", "right"]].set_visible(False)


def confusion_plot(path: str | os.PathLike, matrix: np.ndarray, names: Sequence[str] | None) -> None:
    """The confusion matrix, each row as shares of its label.

    Args:
        path: of the PNG; written whole or not at all.
        matrix: (K, K) counts, rows are labels.
        names: of the classes; without them, or above 30 of them, their numbers.
    """
    from matplotlib.figure import Figure

    classes = len(matrix)
    shares = matrix / np.maximum(matrix.sum(axis=1, keepdims=True), 1)
    side = min(max(4.5, 0.5 * classes + 2), 12)
    figure = Figure(figsize=(side + 0.8, side), layout="constrained")
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
    _save(figure, path)


def _save(figure, path: str | os.PathLike) -> None:
    with replacing(path) as temporary:
        figure.savefig(temporary, format="png", dpi=110)
