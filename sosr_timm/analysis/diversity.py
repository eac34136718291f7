"""How far the features of a class spread, and those of all classes: tables 2 and 14 of the MaxSup paper."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from sosr_timm.analysis.collect import collect
from sosr_timm.analysis.plots import SMALL, legend_under, plain_axes
from sosr_timm.analysis.registry import AnalyzeOptions, Result, analysis
from sosr_timm.analysis.subjects import Subject
from sosr_timm.distributed.processes import Processes
from sosr_timm.errors import UserError
from sosr_timm.metrics.plots import new_plot, save_plot
from sosr_timm.metrics.risk_plot import COLOURS
from sosr_timm.options.fields import flag


@dataclass
class DiversityOptions:
    splits: tuple[str, ...] = flag((), "splits of the data set, one after the other; --split where not given")


def feature_diversity(features: np.ndarray, labels: np.ndarray) -> dict[str, float]:
    """Mean cosine distance within the classes and between all samples, each class with the same weight.

    d_within = (1/K) sum_k (1/N_k^2) sum_{m,n in k} (1 - cos(x_m, x_n)) and d_total, the same over all pairs of
    classes (Kornblith et al. 2021, arXiv 2010.16402, equation 11; self-pairs included). With unit vectors u and class
    means mu_k of them these are exactly 1 - mean_k ||mu_k||^2 and 1 - ||mean_k mu_k||^2.

    Args:
        features: (N, D).
        labels: (N,) class indices; classes without a sample are left out.

    Returns:
        `d_within`, `d_total`, and `r2` = 1 - d_within / d_total (MaxSup, arXiv 2502.15798, table 14).

    Raises:
        ValueError: a feature vector of length 0, which has no direction, or no two different directions.
    """
    vectors = features.astype(np.float64)
    lengths = np.linalg.norm(vectors, axis=1, keepdims=True)
    if not (lengths > 0).all():
        raise ValueError(f"{int((lengths == 0).sum())} feature vectors have length 0")
    units = vectors / lengths
    means = np.stack([units[labels == label].mean(axis=0) for label in np.unique(labels)])
    within = 1.0 - float((means**2).sum(axis=1).mean())
    total = 1.0 - float((means.mean(axis=0) ** 2).sum())
    if total < 1e-12:
        raise ValueError("all features have the same direction")
    return {"d_within": within, "d_total": total, "r2": 1.0 - within / total}


@analysis(
    "diversity",
    "spread of the penultimate features within and between classes",
    "MaxSup, tables 2 and 14",
    DiversityOptions,
)
def diversity(subjects: list[Subject], options: AnalyzeOptions, processes: Processes) -> Result:
    """Collect the features of each subject on each split."""
    rows: list[dict[str, Any]] = []
    for subject in subjects:
        for split in options.analysis.splits or (options.data.split,):
            found = collect(subject, processes, subject.source(split=split), features=True)
            try:
                values = feature_diversity(found.features, found.labels)
            except ValueError as error:
                raise UserError(f"{subject.title}: {error}") from None
            sizes = {"images": len(found.labels), "classes": len(np.unique(found.labels))}
            rows.append({"run": subject.title, "split": split, **values, "top1": found.top1, **sizes})
    record = {"distance": "cosine, class-balanced, self-pairs included", "values": rows}
    return Result(record, rows, {"diversity.png": lambda path: draw(path, rows)})


def draw(path: Path, rows: list[dict[str, Any]]) -> None:
    """Bars of both distances, and of R2, for each run; the splits side by side."""
    titles, splits = (list(dict.fromkeys(row[key] for row in rows)) for key in ("run", "split"))
    figure = new_plot(
        "Diversity of the penultimate features", (max(1.4 * SMALL[0], 0.8 * len(titles)), 2 * SMALL[1] + 1)
    )
    panels = {"d_within": "$d_{within}$", "d_total": "$d_{total}$", "r2": "$R^2$"}
    width = 0.8 / len(splits)
    for axes, (name, symbol) in zip(figure.subplots(3, 1, sharex=True), panels.items(), strict=True):
        for number, split in enumerate(splits):
            of_split = [row for row in rows if row["split"] == split]
            places = np.arange(len(of_split)) + (number - (len(splits) - 1) / 2) * width
            heights = [row[name] for row in of_split]
            hatch = "///" if number % 2 else ""
            axes.bar(
                places,
                heights,
                0.92 * width,
                color=COLOURS[number % len(COLOURS)],
                hatch=hatch,
                label=split,
                edgecolor="white",
            )
        axes.set_xticks(range(len(titles)), titles, rotation=40, ha="right")
        plain_axes(axes, "", "cosine distance" if name != "r2" else "1 - $d_{within}$ / $d_{total}$", symbol)
    legend_under(figure)
    save_plot(figure, path)
