"""Error, NLL and ECE on corrupted images: table 8 of the MaxSup paper, computed exactly and as its code computes it."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor

from sosr_timm.analysis.collect import Collected, collect
from sosr_timm.analysis.plots import SMALL, legend_under, plain_axes, style, whole_numbers
from sosr_timm.analysis.registry import AnalyzeOptions, Result, analysis
from sosr_timm.analysis.subjects import Subject
from sosr_timm.checkpoints.format import read_part
from sosr_timm.data.corruptions import CORRUPTIONS, FORMS, SEVERITIES, CorruptedSource, form_for, open_published
from sosr_timm.data.sources.source import ImageSource
from sosr_timm.data.transforms.image import ImageFormat
from sosr_timm.distributed.processes import Processes
from sosr_timm.errors import UserError
from sosr_timm.metrics.plots import new_plot, save_plot
from sosr_timm.metrics.risk_plot import COLOURS
from sosr_timm.metrics.table import MetricTable
from sosr_timm.options.fields import flag
from sosr_timm.options.ranges import NOT_NEGATIVE, Range
from sosr_timm.registry import close_names
from sosr_timm.setup.loss import make_loss
from sosr_timm.tracking.console import logger

BATCH = 100  # images of the batches that the authors average over
BINS = 15
Criterion = Callable[[Tensor, Tensor], Tensor]
VALUES = ("error", "nll", "ece", "nll_logged", "ece_logged")


@dataclass
class CorruptionOptions:
    corruptions: tuple[str, ...] = flag((), "which corruptions; all fifteen where not given")
    severities: tuple[int, ...] = flag(SEVERITIES, "which severities", allowed=Range(1, 5))
    form: str = flag(
        "auto", "whose strengths: CIFAR-10-C's up to 64 pixels, else ImageNet-C's", choices=("auto", *FORMS)
    )
    corruption_seed: int = flag(0, "seed of the corruptions' random numbers", allowed=NOT_NEGATIVE)
    corrupted_dir: str = flag("", "folder of CIFAR-10-C or CIFAR-100-C (NAME.npy, labels.npy), read instead of made")


def exact_metrics(logits: Tensor, labels: Tensor) -> dict[str, float]:
    """`error` as a fraction, `nll` in nats, `ece` of 15 bins, over all images.

    Args:
        logits: (N, K).
        labels: (N,) int64.
    """
    table = MetricTable(1, BINS)
    table.update(0, logits, labels)
    found = table.compute()
    return {"error": 1 - found["top1"] / 100, "nll": found["loss"], "ece": found["ece"]}


def logged_metrics(logits: Tensor, labels: Tensor, criterion: Criterion) -> dict[str, float]:
    """`nll_logged` and `ece_logged` as the authors log them: means over batches of 100 images, in order.

    The training criterion stands for the NLL, with the penalty in it; the ECE of a few images is biased upwards.

    Args:
        logits: (N, K).
        labels: (N,) int64.
        criterion: of logits and labels to a scalar.
    """
    parts = list(zip(logits.split(BATCH), labels.split(BATCH), strict=True))
    losses = [float(criterion(*part)) for part in parts]
    errors = [batch_calibration_error(part.float().softmax(dim=1), target) for part, target in parts]
    return {"nll_logged": float(np.mean(losses)), "ece_logged": float(np.mean(errors))}


def batch_calibration_error(probabilities: Tensor, labels: Tensor) -> float:
    """torchmetrics' expected calibration error: 15 bins [lo, hi), and one more for a confidence of exactly 1.

    Args:
        probabilities: (M, K) float32.
        labels: (M,) int64.
    """
    confidence, guess = probabilities.max(dim=1)
    edges = torch.linspace(0, 1, BINS + 1, dtype=probabilities.dtype)
    bins = torch.bucketize(confidence, edges, right=True) - 1
    zeros = torch.zeros(BINS + 1, dtype=torch.float64)
    gaps = zeros.index_add(0, bins, (confidence - (guess == labels).to(confidence.dtype)).double())
    return float(gaps.abs().sum() / len(labels))


def criterion_of(subject: Subject, classes: int) -> Criterion:
    """The criterion that a run ended its training with; cross entropy for a timm model."""
    if subject.run is None:
        return torch.nn.functional.cross_entropy
    options = subject.run.options
    loss = make_loss(options.loss, options.task, classes, mixed=False)
    loss.load_state_dict(read_part(subject.run.checkpoint, "rank0")["loss"])
    loss.set_progress(1.0)
    return torch.no_grad()(loss.eval())


def chosen_corruptions(names: tuple[str, ...]) -> tuple[str, ...]:
    """The named corruptions, or all.

    Raises:
        UserError: an unknown one, with the nearest.
    """
    for name in names:
        if name not in CORRUPTIONS:
            raise UserError(f"--corruptions: unknown corruption '{name}': {close_names(name, CORRUPTIONS)}")
    return names or tuple(CORRUPTIONS)


def evaluate(found: Collected, criterion: Criterion) -> dict[str, float]:
    """All values of one set of images."""
    logits, labels = torch.from_numpy(found.logits), torch.from_numpy(found.labels)
    return exact_metrics(logits, labels) | logged_metrics(logits, labels, criterion)


@analysis(
    "corruptions",
    "error, NLL and ECE under the corruptions of CIFAR-C and ImageNet-C",
    "MaxSup, table 8",
    CorruptionOptions,
)
def corruptions(subjects: list[Subject], options: AnalyzeOptions, processes: Processes) -> Result:
    """Evaluate each run on the clean images, and on each corruption and severity."""
    analysis = options.analysis
    names, severities = chosen_corruptions(analysis.corruptions), sorted(set(analysis.severities))
    rows: list[dict[str, Any]] = []
    summary: list[dict[str, Any]] = []
    for subject in subjects:
        if subject.run is not None and subject.options.data.valid_labels:
            raise UserError(
                f"{subject.title}: --valid-labels is not supported: the training criterion is of all classes"
            )
        source = subject.source()
        clean = collect(subject, processes, source)
        criterion = criterion_of(subject, clean.logits.shape[1])
        _, form = subject.model(source)
        kind = form_for(form.height) if analysis.form == "auto" else analysis.form
        rows.append({"run": subject.title, "corruption": "clean", "severity": 0, **evaluate(clean, criterion)})
        own: list[dict[str, Any]] = []
        for name, severity, changed in _changed(source, form, names, severities, analysis, kind):
            as_loaded = subject if analysis.corrupted_dir else _without_crop(subject)
            found = evaluate(collect(as_loaded, processes, changed), criterion)
            own.append({"run": subject.title, "corruption": name, "severity": severity, **found})
        logger.info("%s: %d sets of %d images", subject.title, len(own), len(clean.labels))
        rows += own
        means = {value: float(np.mean([row[value] for row in own])) for value in VALUES}
        summary.append({"run": subject.title, **means, "clean_error": rows[-len(own) - 1]["error"], "form": kind})
    record = {
        "unit": "error and ECE as fractions, NLL in nats",
        "logged": f"as the authors log them: the training criterion and the ECE, means over batches of {BATCH} images",
        "corruptions": list(names),
        "severities": severities,
        "seed": None if analysis.corrupted_dir else analysis.corruption_seed,
        "mean": summary,
        "sets": rows,
    }
    plots = {
        "corruptions.png": lambda path: draw_severities(path, rows),
        "corruptions_by_kind.png": lambda path: draw_kinds(path, rows, names),
    }
    return Result(record, [*({**row, "corruption": "mean", "severity": ""} for row in _means(summary)), *rows], plots)


def _changed(
    source: ImageSource,
    form: ImageFormat,
    names: tuple[str, ...],
    severities: list[int],
    analysis: CorruptionOptions,
    kind: str,
) -> Iterator[tuple[str, int, ImageSource]]:
    for name in names:
        for severity in severities:
            if analysis.corrupted_dir:
                yield name, severity, open_published(analysis.corrupted_dir, name, severity, source.info)
            else:
                yield name, severity, CorruptedSource(source, form, name, severity, analysis.corruption_seed, kind)


def _without_crop(subject: Subject) -> Subject:
    """The same for images that have the model's size already."""
    data = replace(subject.options.data, crop_pct=1.0, crop_mode="center", crop_border_pixels=None)
    return replace(subject, options=replace(subject.options, data=data))


def _means(summary: list[dict[str, Any]]) -> list[dict[str, Any]]:
    return [{"run": row["run"], "corruption": "", "severity": "", **{v: row[v] for v in VALUES}} for row in summary]


def draw_severities(path: Path, rows: list[dict[str, Any]]) -> None:
    """Error, NLL and ECE against severity, means over the corruptions; the clean images at 0."""
    figure = new_plot("Corrupted images, mean over the corruptions", (2 * SMALL[0], 2 * SMALL[1] + 0.6))
    panels = {"error": "error (fraction)", "nll": "NLL (nats)", "ece": "ECE (15 bins)"}
    severities = sorted({row["severity"] for row in rows})
    *three, empty = figure.subplots(2, 2).flat
    empty.set_visible(False)
    for axes, (name, label) in zip(three, panels.items(), strict=True):
        for number, title in enumerate(dict.fromkeys(row["run"] for row in rows)):
            own = [row for row in rows if row["run"] == title]
            means = [np.mean([row[name] for row in own if row["severity"] == severity]) for severity in severities]
            axes.plot(severities, means, marker="o", markersize=4, label=title, **style(number))
        plain_axes(axes, "severity (0: clean)", label)
        whole_numbers(axes)
        axes.set_ylim(bottom=0)
    legend_under(figure)
    figure.get_layout_engine().set(w_pad=0.1)
    save_plot(figure, path)


MARKERS = "os^Dv<>P"


def draw_kinds(path: Path, rows: list[dict[str, Any]], names: tuple[str, ...]) -> None:
    """Error of each corruption, mean over its severities, a mark for each run."""
    figure = new_plot("Error by corruption, mean over the severities", (6.6, max(3.2, 1.9 + 0.3 * len(names))))
    axes = figure.subplots()
    for number, title in enumerate(dict.fromkeys(row["run"] for row in rows)):
        means = [
            np.mean([row["error"] for row in rows if row["run"] == title and row["corruption"] == name])
            for name in names
        ]
        marks = {"marker": MARKERS[number % len(MARKERS)], "color": COLOURS[number % len(COLOURS)]}
        axes.plot(means, range(len(names)), linestyle="none", markersize=6, alpha=0.85, label=title, **marks)
    plain_axes(axes, "error (fraction)", "")
    axes.set_yticks(range(len(names)), [name.replace("_", " ") for name in names])
    axes.set_ylim(len(names) - 0.5, -0.5)
    axes.set_xlim(left=0)
    legend_under(figure)
    save_plot(figure, path)
