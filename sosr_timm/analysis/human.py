"""How far predictions are from the labels that people gave: CIFAR-10H, as in the OLS paper."""

from __future__ import annotations

import math
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from sosr_timm.analysis.collect import Collected, collect
from sosr_timm.analysis.ensemble import softmax_of
from sosr_timm.analysis.plots import SMALL, plain_axes
from sosr_timm.analysis.registry import AnalyzeOptions, Result, analysis
from sosr_timm.analysis.subjects import Subject
from sosr_timm.distributed.processes import Processes
from sosr_timm.errors import UserError, one_line
from sosr_timm.metrics.plots import new_plot, save_plot
from sosr_timm.metrics.risk_plot import COLOURS
from sosr_timm.options.fields import flag

SUM_TOLERANCE = 1e-3


@dataclass
class HumanOptions:
    human_labels: str = flag("", "cifar10h-probs.npy, or another (N, K) array of label distributions of the images")
    with_train: bool = flag(False, "take the mean predictions of classes from the training images too")


def per_image_divergence(human: np.ndarray, probabilities: np.ndarray, labels: np.ndarray) -> tuple[float, int]:
    """Mean of KL(h || p) = sum_k h_k log(h_k / p_k) over the correctly classified images, and their number.

    Args:
        human: (N, K), rows h.
        probabilities: (N, K), rows p.
        labels: (N,) int64.

    Returns:
        nats, NaN without a correct image; the number of correct images.
    """
    right = probabilities.argmax(axis=1) == labels
    values = _divergence(human[right], probabilities[right])
    return (float(values.mean()) if len(values) else float("nan")), int(right.sum())


def per_class_divergence(
    human: np.ndarray, probabilities: np.ndarray, labels: np.ndarray
) -> dict[str, float | list[int]]:
    """Divergence of the classes' mean predictions S from their mean human labels H.

    H[c] is the mean of the human labels whose largest entry is c; S[c] the mean prediction of the correctly classified
    images of class c.

    Args:
        human: (N, K), of the images that people labelled.
        probabilities: (M, K), of these or of other images of the same classes.
        labels: (M,) int64, of the same images as the probabilities.

    Returns:
        `kl`, the mean over classes of sum_k H log(H / S); `cross_entropy`, that of -sum_k H log S; `left_out`, classes
        without a human label or a correct image, which are in neither.
    """
    right = probabilities.argmax(axis=1) == labels
    people = human.argmax(axis=1)
    means, left_out = [], []
    for label in range(human.shape[1]):
        ours, theirs = probabilities[right & (labels == label)], human[people == label]
        if len(ours) and len(theirs):
            means.append((theirs.mean(axis=0), ours.mean(axis=0)))
        else:
            left_out.append(label)
    if not means:
        return {"kl": float("nan"), "cross_entropy": float("nan"), "left_out": left_out}
    h, s = (np.stack(part) for part in zip(*means, strict=True))
    entropy = -(h * _log(h)).sum(axis=1)
    kl = _divergence(h, s)
    return {"kl": float(kl.mean()), "cross_entropy": float((kl + entropy).mean()), "left_out": left_out}


def _divergence(h: np.ndarray, p: np.ndarray) -> np.ndarray:
    """(N,) KL(h || p) in nats; 0 log 0 is 0."""
    return (h * (_log(h) - _log(p))).sum(axis=1)


def _log(values: np.ndarray) -> np.ndarray:
    return np.log(np.maximum(values, np.finfo(np.float64).tiny))


def read_human_labels(path: str) -> np.ndarray:
    """(N, K) float64 distributions, whose rows sum to 1.

    Raises:
        UserError: no file, or not such an array.
    """
    if not path:
        raise UserError(
            "human needs --human-labels FILE, the distributions of people's labels: for CIFAR-10 cifar10h-probs.npy"
        )
    try:
        found = np.load(path, allow_pickle=False)
    except FileNotFoundError:
        raise UserError(f"--human-labels {path}: no such file") from None
    except (OSError, ValueError, EOFError) as error:
        raise UserError(f"--human-labels {path}: no NumPy array that can be read ({one_line(error)})") from None
    if not isinstance(found, np.ndarray) or found.ndim != 2 or found.dtype.kind not in "fiu":
        about = f"{found.dtype}{found.shape}" if isinstance(found, np.ndarray) else "several arrays"
        raise UserError(f"--human-labels {path}: expected an (N, K) array of numbers, not {about}")
    found = found.astype(np.float64)
    sums = found.sum(axis=1)
    wrong = ~(np.isfinite(found).all(axis=1) & (found >= 0).all(axis=1) & (np.abs(sums - 1) < SUM_TOLERANCE))
    if wrong.any():
        row = int(wrong.argmax())
        raise UserError(f"--human-labels {path}: row {row} is no distribution (its sum is {sums[row]:.4g})")
    return found / sums[:, None]


def check_fits(human: np.ndarray, found: Collected, subject: Subject, path: str) -> None:
    """Raise where the file has other images or classes than the evaluation."""
    if human.shape != found.logits.shape:
        images, classes = found.logits.shape
        raise UserError(
            f"--human-labels {path} has {len(human):,} rows of {human.shape[1]} classes; {subject.title} has "
            f"{images:,} images of {classes} classes"
        )


@analysis("human", "divergence from people's label distributions", "OLS, CIFAR-10H", HumanOptions)
def human(subjects: list[Subject], options: AnalyzeOptions, processes: Processes) -> Result:
    """Both divergences of the authors' script, for the images that people labelled."""
    path = options.analysis.human_labels
    people = read_human_labels(path)
    rows: list[dict[str, Any]] = []
    left_out: dict[str, list[int]] = {}
    for subject in subjects:
        found = collect(subject, processes)
        check_fits(people, found, subject, path)
        probabilities = softmax_of(found.logits)
        kl, correct = per_image_divergence(people, probabilities, found.labels)
        of_class = per_class_divergence(people, probabilities, found.labels)
        row = {"run": subject.title, "top1_error": 100 - found.top1, "correct_images": correct, "kl_per_image": kl}
        row |= {"kl_per_class": of_class["kl"], "cross_entropy_per_class": of_class["cross_entropy"]}
        left_out[subject.title] = of_class["left_out"]
        if options.analysis.with_train:
            trained = collect(subject, processes, subject.source(split="train", num_samples=None))
            of_class = per_class_divergence(people, softmax_of(trained.logits), trained.labels)
            row |= {"kl_per_class_train": of_class["kl"], "cross_entropy_per_class_train": of_class["cross_entropy"]}
        if any(math.isnan(value) for value in row.values() if isinstance(value, float)):
            raise UserError(f"{subject.title}: no correctly classified image to compare with people's labels")
        rows.append(row)
    record = {"human_labels": Path(path).name, "unit": "nats", "runs": rows, "classes_left_out": left_out}
    return Result(record, rows, {"human.png": lambda where: draw(where, rows)})


def draw(path: Path, rows: list[dict[str, Any]]) -> None:
    """A bar for each run, per image on the left and per class on the right."""
    figure = new_plot("Divergence from label distributions", (2 * SMALL[0], max(3.0, 1.6 + 0.42 * len(rows))))
    panels = {"kl_per_image": "per correctly classified image", "kl_per_class": "per class, of mean predictions"}
    places, names = np.arange(len(rows)), [row["run"] for row in rows]
    for axes, (name, title) in zip(figure.subplots(1, 2, sharey=True), panels.items(), strict=True):
        values = [row[name] for row in rows]
        bars = axes.barh(places, values, height=0.65, color=COLOURS[0])
        axes.bar_label(bars, [f"{value:.3f}" for value in values], padding=3, fontsize=9)
        plain_axes(axes, "KL divergence (nats)", "", title)
        axes.set_yticks(places, names)
        axes.grid(axis="y", visible=False)
        axes.margins(x=0.2)
        axes.locator_params(axis="x", nbins=5)
        axes.set_axisbelow(True)
    figure.axes[0].invert_yaxis()
    figure.get_layout_engine().set(w_pad=0.1)
    save_plot(figure, path)
