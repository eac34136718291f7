"""Averaged predictions of several checkpoints of one run: table III of the OLS paper."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np
import torch

from sosr_timm.analysis.collect import collect
from sosr_timm.analysis.plots import SMALL, legend_under, plain_axes, style, whole_numbers
from sosr_timm.analysis.registry import AnalyzeOptions, Result, analysis
from sosr_timm.analysis.subjects import Subject
from sosr_timm.checkpoints.format import Position, even_epochs
from sosr_timm.distributed.processes import Processes
from sosr_timm.errors import UserError
from sosr_timm.metrics.plots import new_plot, save_plot
from sosr_timm.metrics.table import MetricTable
from sosr_timm.options.fields import flag
from sosr_timm.options.ranges import AT_LEAST_ONE
from sosr_timm.setup.stored_run import find_run
from sosr_timm.text import counted


@dataclass
class EnsembleOptions:
    counts: tuple[int, ...] = flag(
        (1, 6, 10, 15, 20), "numbers of checkpoints, spread evenly over the run", allowed=AT_LEAST_ONE
    )


def ensemble_metrics(probabilities: Sequence[np.ndarray], labels: np.ndarray) -> dict[str, float]:
    """The metrics of the mean of several predictions.

    Args:
        probabilities: (N, K) float64 each, softmax of a checkpoint's logits.
        labels: (N,) int64.

    Returns:
        `top1` and `top5` in percent, `loss` (NLL in nats), `ece` (15 bins) and `brier`.
    """
    mean = np.mean(probabilities, axis=0)
    # The logarithm of probabilities is a set of logits with just these probabilities.
    logits = torch.from_numpy(np.log(np.maximum(mean, np.finfo(np.float64).tiny)))
    table = MetricTable(1)
    table.update(0, logits, torch.from_numpy(labels))
    return {name: table.compute()[name] for name in MetricTable.METRICS}


def checkpoints_for(subject: Subject, counts: Sequence[int]) -> dict[int, list[int]]:
    """The epochs whose checkpoints make an ensemble of each size.

    Raises:
        UserError: a timm model, a run with fewer epochs than checkpoints, or without the checkpoints of an epoch.
    """
    if subject.run is None:
        raise UserError(f"{subject.title} is a model; an ensemble is made of the checkpoints of a run folder")
    epochs, folder = subject.run.about["epochs"], subject.run.folder
    chosen = {count: even_epochs(count, epochs) for count in sorted(set(counts))}
    for count, found in chosen.items():
        if len(found) < count:
            raise UserError(
                f"{folder.path} has {counted(epochs, 'epoch')}, too few for {count} checkpoints: see --counts"
            )
        missing = [epoch for epoch in found if not (folder.checkpoints / Position(epoch, 0).folder_name).is_dir()]
        if missing:
            wanted = " ".join(map(str, chosen))
            raise UserError(
                f"{folder.path} has no checkpoint of epoch {missing[0]}, which {count} of {epochs} epochs need: train "
                f"with --keep-checkpoints {wanted}, or choose other --counts"
            )
    return chosen


def softmax_of(logits: np.ndarray) -> np.ndarray:
    """(N, K) probabilities in float64."""
    return torch.from_numpy(logits).double().softmax(dim=1).numpy()


@analysis("ensemble", "averaged predictions of checkpoints of one run", "OLS, table III", EnsembleOptions)
def ensemble(subjects: list[Subject], options: AnalyzeOptions, processes: Processes) -> Result:
    """Average the probabilities of the checkpoints of each run."""
    chosen = [checkpoints_for(subject, options.analysis.counts) for subject in subjects]
    rows: list[dict[str, Any]] = []
    for subject, of_count in zip(subjects, chosen, strict=True):
        probabilities: dict[int, np.ndarray] = {}
        source = subject.source()
        for epoch in sorted({epoch for epochs in of_count.values() for epoch in epochs}):
            path = subject.run.folder.checkpoints / Position(epoch, 0).folder_name
            found = collect(replace(subject, run=find_run(str(path), "last")), processes, source)
            probabilities[epoch], labels = softmax_of(found.logits), found.labels
        for count, epochs in of_count.items():
            metrics = ensemble_metrics([probabilities[epoch] for epoch in epochs], labels)
            error = {"top1_error": 100 - metrics["top1"], "top5_error": 100 - metrics["top5"]}
            calibration = {"nll": metrics["loss"], "ece": metrics["ece"], "brier": metrics["brier"]}
            rows.append(
                {"run": subject.title, "n": count, **error, **calibration, "epochs": " ".join(map(str, epochs))}
            )
    record = {"unit": "errors in percent", "images": len(labels), "ensembles": rows}
    return Result(record, rows, {"ensemble.png": lambda path: draw(path, rows)})


def draw(path: Path, rows: list[dict[str, Any]]) -> None:
    """Error and NLL against the number of checkpoints, a curve for each run."""
    figure = new_plot("Averaged predictions of n checkpoints of one run", (2 * SMALL[0], SMALL[1] + 0.8))
    panels = (("top1_error", "top-1 error (%)"), ("nll", "NLL (nats)"))
    for axes, (name, label) in zip(figure.subplots(1, 2), panels, strict=True):
        for number, title in enumerate(dict.fromkeys(row["run"] for row in rows)):
            points = [(row["n"], row[name]) for row in rows if row["run"] == title]
            axes.plot(*zip(*points, strict=True), marker="o", markersize=4, label=title, **style(number))
        plain_axes(axes, "checkpoints averaged, n", label)
        whole_numbers(axes)
    legend_under(figure)
    figure.get_layout_engine().set(w_pad=0.1)
    save_plot(figure, path)
