"""Two-dimensional features of the training images, epoch by epoch: figure 3 of the SOSR paper."""

from __future__ import annotations

import csv
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from safetensors import SafetensorError
from safetensors.numpy import load_file

from sosr_timm.analysis.plots import plain_axes
from sosr_timm.analysis.registry import AnalyzeOptions, Result, analysis
from sosr_timm.analysis.subjects import Subject
from sosr_timm.checkpoints.run_folder import FEATURES
from sosr_timm.distributed.processes import Processes
from sosr_timm.errors import UserError, one_line
from sosr_timm.metrics.plots import new_plot, save_plot
from sosr_timm.options.fields import flag
from sosr_timm.options.ranges import NOT_NEGATIVE

# The authors' ten, of classes 0 to 9.
PAPER = ("#ff0000", "#ffff00", "#00ff00", "#00ffff", "#0000ff", "#ff00ff", "#990000", "#999900", "#009900", "#009999")
# Ten that people with any vision can tell apart: Tol's muted, and black.
MUTED = ("#332288", "#88ccee", "#44aa99", "#117733", "#999933", "#ddcc77", "#cc6677", "#882255", "#aa4499", "#000000")
MARKERS = "osD^v<>PX*"
MOST_CLASSES = len(MUTED)


@dataclass
class Features2dOptions:
    epochs: tuple[int, ...] = flag(
        (), "epochs to plot, counted from 0; the last one where not given", allowed=NOT_NEGATIVE
    )
    paper_colours: bool = flag(False, "the authors' ten colours and dots, which not everybody can tell apart")


@dataclass(frozen=True)
class Points:
    """The recorded features of an epoch.

    Attributes:
        features: (N, 2) float32.
        labels: (N,) int.
    """

    features: np.ndarray
    labels: np.ndarray


def nearest_centroid_accuracy(features: np.ndarray, labels: np.ndarray) -> float:
    """Percentage of points whose class's centroid is the nearest one.

    Args:
        features: (N, D).
        labels: (N,); centroids are the means of all points of a class.
    """
    kinds, places = np.unique(labels, return_inverse=True)
    vectors = features.astype(np.float64)
    centroids = np.stack([vectors[places == place].mean(axis=0) for place in range(len(kinds))])
    # ||x - c||^2 without the part that is the same for all centroids.
    distances = (centroids**2).sum(axis=1) - 2 * vectors @ centroids.T
    return 100.0 * float((distances.argmin(axis=1) == places).mean())


def recorded_epochs(subject: Subject) -> dict[int, Path]:
    """The files of --record-features of a run by epoch.

    Raises:
        UserError: a timm model, or a run without such files.
    """
    if subject.run is None:
        raise UserError(f"{subject.title} is a model, and what is recorded in training is in run folders only")
    folder = subject.run.folder.path / FEATURES
    paths = {path.stem.removeprefix("epoch"): path for path in sorted(folder.glob("epoch*.safetensors"))}
    found = {int(epoch): path for epoch, path in paths.items() if epoch.isdecimal()}
    if not found:
        raise UserError(
            f"{subject.run.folder.path} has no recorded features: train cifar_resnet110_2d with --record-features"
        )
    return found


def read_points(path: Path, title: str) -> Points:
    """The points of an epoch.

    Raises:
        UserError: a damaged file, or features of another number of dimensions.
    """
    try:
        content = load_file(path)
        found = Points(content["features"], content["labels"])
    except (OSError, KeyError, SafetensorError) as error:
        raise UserError(f"{path} is damaged ({one_line(error)})") from None
    if found.features.ndim != 2 or found.labels.shape != found.features.shape[:1]:
        raise UserError(f"{path} is damaged (arrays of other shapes)")
    if found.features.shape[1] != 2:
        raise UserError(f"{title}: features of {found.features.shape[1]} dimensions; features2d plots two")
    if len(np.unique(found.labels)) > MOST_CLASSES:
        raise UserError(f"{title}: {len(np.unique(found.labels))} classes; features2d has colours for {MOST_CLASSES}")
    return found


def evaluation_of(subject: Subject) -> dict[int, float]:
    """Accuracy on the evaluation set by epoch, of summary.csv.

    Raises:
        UserError: the file cannot be read.
    """
    path = subject.run.folder.summary
    try:
        with open(path, newline="", encoding="utf-8") as file:
            rows = list(csv.DictReader(file))
        names = ("eval_top1_raw", "eval_top1")
        column = next((name for name in names if rows and name in rows[0]), None)
        return {int(row["epoch"]): float(row[column]) for row in rows if column and row[column]}
    except (OSError, ValueError, TypeError, KeyError) as error:
        raise UserError(f"{path} cannot be read ({one_line(error)})") from None


@analysis("features2d", "2-D features of the training images, by epoch", "SOSR, figure 3", Features2dOptions)
def features2d(subjects: list[Subject], options: AnalyzeOptions, processes: Processes) -> Result:
    """Read what the runs recorded, a plot for each epoch with the runs side by side."""
    files = {}
    for subject in subjects:
        files[subject.title] = recorded_epochs(subject)
    common = set.intersection(*(set(found) for found in files.values()))
    if not common:
        raise UserError("the runs recorded no epoch in common")
    missing = sorted(set(options.analysis.epochs) - common)
    if missing:
        raise UserError(f"--epochs {missing[0]}: recorded are {', '.join(map(str, sorted(common)))}")
    chosen = options.analysis.epochs or (max(common),)
    rows, plots, paper = [], {}, options.analysis.paper_colours
    for epoch in chosen:
        panels = {title: read_points(found[epoch], title) for title, found in files.items()}
        for subject in subjects:
            points = panels[subject.title]
            accuracy = nearest_centroid_accuracy(points.features, points.labels)
            values = {"nearest_centroid": accuracy, "eval_top1": evaluation_of(subject).get(epoch)}
            rows.append({"run": subject.title, "epoch": epoch, "images": len(points.labels), **values})
        name = "features2d.png" if len(chosen) == 1 else f"features2d-epoch{epoch:05d}.png"
        plots[name] = lambda path, panels=panels, epoch=epoch: draw(path, panels, epoch, paper)
    record = {"forward": "training step (training mode, augmented)", "values": rows}
    return Result(record, rows, plots)


def draw(path: Path, panels: dict[str, Points], epoch: int, paper: bool) -> None:
    """A panel for each run, no limits shared: the scale of the features is each model's own."""
    across = min(len(panels), 2)
    down = -(-len(panels) // across)
    figure = new_plot(f"2-D features of the training images, epoch {epoch}", (3.3 * across + 0.5, 3.1 * down + 1.1))
    axes = figure.subplots(down, across, squeeze=False)
    handles = {}
    for place, panel in enumerate(axes.flat):
        if place >= len(panels):
            panel.set_visible(False)
            continue
        title, points = list(panels.items())[place]
        for number, label in enumerate(np.unique(points.labels)):
            of_class = points.features[points.labels == label]
            look = {"marker": "." if paper else MARKERS[number], "color": (PAPER if paper else MUTED)[number]}
            (line,) = panel.plot(*of_class.T, linestyle="none", markersize=3, alpha=0.6, markeredgewidth=0, **look)
            handles[int(label)] = line
        last = place + across >= len(panels)
        plain_axes(panel, "feature 1" if last else "", "feature 2" if place % across == 0 else "", title)
    figure.legend(
        handles.values(), handles.keys(), loc="outside lower center", ncols=10, frameon=False, fontsize=9,
        title="class", markerscale=2.5, handletextpad=0.1, columnspacing=0.8,
    )  # fmt: skip
    save_plot(figure, path)
