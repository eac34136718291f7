"""The distribution of logits, and how many of them are near zero: figure 5 of the MaxSup paper and its README."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

import numpy as np

from sosr_timm.analysis.collect import collect
from sosr_timm.analysis.plots import SMALL, legend_under, plain_axes, style
from sosr_timm.analysis.registry import AnalyzeOptions, Result, analysis
from sosr_timm.analysis.subjects import Subject
from sosr_timm.distributed.processes import Processes
from sosr_timm.errors import UserError
from sosr_timm.metrics.plots import new_plot, save_plot
from sosr_timm.options.fields import flag
from sosr_timm.options.ranges import AT_LEAST_ONE, POSITIVE

MOST_POINTS = 2000  # of a run in the scatter plot
GRID = 400  # points of a density


@dataclass
class LogitsOptions:
    near_zero: float = flag(
        0.01, "a logit counts as near zero where its absolute value is below this", allowed=POSITIVE
    )
    first: int | None = flag(
        None, "only the first images of the split, as the paper's notebook takes 1,000", allowed=AT_LEAST_ONE
    )


def near_zero_share(logits: np.ndarray, limit: float) -> np.ndarray:
    """(N,), the share of each sample's K logits whose absolute value is below `limit`, from (N, K)."""
    return (np.abs(logits) < limit).mean(axis=1)


def confidence(logits: np.ndarray) -> np.ndarray:
    """(N,), the largest softmax probability of each sample, from (N, K)."""
    shifted = logits.astype(np.float64) - logits.max(axis=1, keepdims=True)
    return 1.0 / np.exp(shifted).sum(axis=1)


def density(values: np.ndarray, points: np.ndarray) -> np.ndarray:
    """(P,) Gaussian kernel density at the points, with Scott's bandwidth, as seaborn draws it.

    Args:
        values: any shape.
        points: (P,) evenly spaced, which cover the values.

    Raises:
        ValueError: all values are the same.
    """
    flat = values.ravel().astype(np.float64)
    deviation = flat.std(ddof=1) if flat.size > 1 else 0.0
    if not deviation > 0:
        raise ValueError("all logits are the same")
    width = deviation * flat.size ** (-1 / 5)
    step = points[1] - points[0]
    # A kernel is wider than a step of this fine grid, so counting first changes nothing that a plot shows.
    fine = max(1, int(np.ceil(4 * step / width)))
    edges = np.linspace(points[0] - step / 2, points[-1] + step / 2, fine * len(points) + 1)
    counts, _ = np.histogram(flat, edges)
    centres = (edges[:-1] + edges[1:]) / 2
    kernel = np.exp(-0.5 * ((points[:, None] - centres[None]) / width) ** 2)
    return kernel @ counts / (flat.size * width * np.sqrt(2 * np.pi))


def summary_of(logits: np.ndarray, limit: float) -> dict[str, float]:
    """Mean, deviation and extremes of all logits, the mean share near zero, and its correlation with the confidence."""
    shares, top = near_zero_share(logits, limit), confidence(logits)
    varies = shares.std() > 0 and top.std() > 0
    return {
        "mean": float(logits.mean()),
        "std": float(logits.std()),
        "min": float(logits.min()),
        "max": float(logits.max()),
        "near_zero": float(shares.mean()),
        "confidence": float(top.mean()),
        "correlation": float(np.corrcoef(shares, top)[0, 1]) if varies else None,
    }


@analysis(
    "logits",
    "distribution of the logits, and the share near zero against confidence",
    "MaxSup, figure 5",
    LogitsOptions,
)
def logits(subjects: list[Subject], options: AnalyzeOptions, processes: Processes) -> Result:
    """Collect the logits of each subject."""
    limit, first = options.analysis.near_zero, options.analysis.first
    found = {}
    for subject in subjects:
        found[subject.title] = collect(subject, processes).logits[:first]
        if not np.isfinite(found[subject.title]).all():
            raise UserError(f"{subject.title}: --valid-labels takes logits away, and this analysis is of all of them")
    rows = [{"run": title, "images": len(values), **summary_of(values, limit)} for title, values in found.items()]
    for row in rows:
        if row["min"] == row["max"]:
            raise UserError(f"{row['run']}: all logits are the same")
    record = {"near_zero_limit": limit, "values": rows}
    return Result(record, rows, {"logits.png": lambda path: draw(path, found, limit)})


def draw(path: Path, found: dict[str, np.ndarray], limit: float) -> None:
    """Density of all logits; histogram of the share near zero; the share against the confidence."""
    figure = new_plot("Logits", (2 * SMALL[0], 2 * SMALL[1] + 0.6))
    left, middle, right, empty = figure.subplots(2, 2).flat
    empty.set_visible(False)
    low, high = min(values.min() for values in found.values()), max(values.max() for values in found.values())
    points = np.linspace(low - 0.05 * (high - low), high + 0.05 * (high - low), GRID)
    shares = {title: near_zero_share(values, limit) for title, values in found.items()}
    most = max(float(share.max()) for share in shares.values())
    edges = np.linspace(0, max(most, 1e-3), 51)
    for number, (title, values) in enumerate(found.items()):
        look = style(number)
        left.plot(points, density(values, points), label=title, linewidth=1.8, **look)
        counts, _ = np.histogram(shares[title], edges)
        middle.stairs(counts / len(values), edges, linewidth=1.6, label=title, **look)
        chosen = np.linspace(0, len(values) - 1, min(MOST_POINTS, len(values))).astype(int)
        right.plot(
            confidence(values)[chosen],
            shares[title][chosen],
            linestyle="none",
            marker="osD^vPX"[number % 7],
            markersize=3,
            alpha=0.5,
            color=look["color"],
            label=title,
        )
    plain_axes(left, "logit", "density", "all logits")
    plain_axes(middle, f"share of logits with |z| < {limit:g}", "share of images", "near zero")
    plain_axes(right, "top-1 probability", f"share of logits with |z| < {limit:g}", "near zero and confidence")
    legend_under(figure)
    figure.get_layout_engine().set(w_pad=0.1)
    save_plot(figure, path)
