"""Logistic regression on frozen features: the linear transfer of tables 3 and 12 of the MaxSup paper."""

from __future__ import annotations

import warnings
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch

from sosr_timm.analysis.collect import WithFeatures, check_no_nan
from sosr_timm.analysis.plots import PANEL, plain_axes, style
from sosr_timm.analysis.registry import AnalyzeOptions, Result, analysis
from sosr_timm.analysis.subjects import Subject
from sosr_timm.data.order.order import EvaluationOrder
from sosr_timm.data.sources.source import ImageSource
from sosr_timm.distributed.processes import Processes
from sosr_timm.errors import UserError
from sosr_timm.extras import import_extra
from sosr_timm.metrics.plots import legend_below, new_plot, save_plot
from sosr_timm.options.fields import flag
from sosr_timm.options.ranges import AT_LEAST_ONE, NOT_NEGATIVE, Range
from sosr_timm.setup.batches import most_workers
from sosr_timm.setup.stored_run import model_by_name
from sosr_timm.training.evaluate import evaluate_part
from sosr_timm.validation.inference_model import place
from sosr_timm.validation.loader import make_loader
from sosr_timm.validation.measure import Progress
from sosr_timm.validation.retry import with_smaller_batches

STRENGTHS = np.logspace(-6, 5, 45)  # Kornblith et al. 2021, arXiv 2010.16402, whom the paper follows


@dataclass
class TransferOptions:
    train_split: str = flag("train", "split that the regression is trained on")
    train_images: int | None = flag(
        None, "train on this many images, spread evenly over the split; all where not given", allowed=AT_LEAST_ONE
    )
    probe_val_fraction: float = flag(
        0.2, "share of them, of each class, that the strength is chosen on", allowed=Range(above=0, below=1)
    )
    probe_seed: int = flag(0, "seed of that choice", allowed=NOT_NEGATIVE)
    max_iter: int = flag(1000, "iterations of L-BFGS for each strength", allowed=AT_LEAST_ONE)


@dataclass(frozen=True)
class Fit:
    """A regression.

    Attributes:
        strength: of the L2 penalty.
        accuracy: in percent, on the images that it was not trained on.
        iterations: of L-BFGS.
        converged: before the iterations ran out.
    """

    strength: float
    accuracy: float
    iterations: int
    converged: bool


class Probe:
    """Multinomial logistic regression by scikit-learn's L-BFGS, from the previous solution where there is one.

    It minimises the sum of cross entropies + strength / 2 times the squared norm of the weights, without the bias.

    Args:
        max_iter: of L-BFGS.
    """

    def __init__(self, max_iter: int):
        linear = import_extra("sklearn.linear_model", "analysis", "transfer")
        self.regression = linear.LogisticRegression(max_iter=max_iter, warm_start=True)

    def fit(self, strength: float, train: tuple[np.ndarray, np.ndarray], test: tuple[np.ndarray, np.ndarray]) -> Fit:
        """Train on (N, D) features and (N,) labels, and measure on others."""
        self.regression.set_params(C=1 / strength)
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")  # that it did not converge is in the result
            self.regression.fit(*train)
        iterations = int(np.max(self.regression.n_iter_))
        accuracy = 100 * float(self.regression.score(*test))
        return Fit(float(strength), accuracy, iterations, iterations < self.regression.max_iter)


def hold_out(labels: np.ndarray, fraction: float, seed: int) -> np.ndarray:
    """(N,) booleans: the same share of each class, at least one image of a class that has two, drawn by the seed."""
    random = np.random.default_rng(seed)
    held = np.zeros(len(labels), dtype=bool)
    for label in np.unique(labels):
        members = np.flatnonzero(labels == label)
        count = min(max(1, round(fraction * len(members))), len(members) - 1)
        held[random.permutation(members)[:count]] = True
    return held


def linear_transfer(
    train: tuple[np.ndarray, np.ndarray],
    test: tuple[np.ndarray, np.ndarray],
    fraction: float = 0.2,
    seed: int = 0,
    max_iter: int = 1000,
    strengths: np.ndarray = STRENGTHS,
) -> tuple[list[Fit], Fit]:
    """Choose the strength on a part of the training images, then train on all of them.

    Args:
        train: (N, D) features and (N,) labels.
        test: (M, D) features and (M,) labels.
        fraction: of the training images that the strength is chosen on.
        seed: of that choice.
        max_iter: of L-BFGS.
        strengths: to choose from.

    Returns:
        the fit of each strength, with its accuracy on the held-out part, strongest first; the last fit, with its
        accuracy on the test images. Of equally good strengths the strongest is chosen.

    Raises:
        UserError: fewer than two classes, or one image of each class.
    """
    features, labels = train
    if len(np.unique(labels)) < 2:
        raise UserError("transfer: the training images have one class; logistic regression needs two")
    held = hold_out(labels, fraction, seed)
    if not held.any():
        raise UserError("transfer: one training image of each class, so none is left to choose the strength on")
    probe = Probe(max_iter)
    # From the strongest penalty, whose solution is near 0, to the weakest: each starts from the one before.
    parts = (features[~held], labels[~held]), (features[held], labels[held])
    fits = [probe.fit(strength, *parts) for strength in sorted(strengths, reverse=True)]
    best = max(fits, key=lambda fit: fit.accuracy)
    return fits, Probe(max_iter).fit(best.strength, train, test)


def features_of(subject: Subject, source: ImageSource, processes: Processes) -> tuple[np.ndarray, np.ndarray]:
    """(N, D) float64 penultimate features and (N,) labels of images whose classes need not be the model's.

    Raises:
        UserError: a model whose head is of another form, images with many labels, or unreadable ones.
    """
    if source.info.multi_hot:
        raise UserError(f"{subject.title}: transfer is for one class per image; the images have many labels")
    options = subject.options
    # The model keeps its own classes, whatever those of the images are.
    named = subject.run is None
    model, form = model_by_name(options, source.info, keep_head=True) if named else subject.model(source)
    placed, form = place(model, form, options.model, processes.device)
    watched = WithFeatures(placed, subject.title)
    features, labels = [], []

    def one_pass(size: int) -> None:
        features.clear()
        labels.clear()
        order = EvaluationOrder(len(source), size)
        loader = make_loader(
            source, form, order, processes.device, options.data, min(options.data.workers, most_workers())
        )
        progress = Progress(subject.title, len(order), processes, 0)

        def each_batch(batch: int, logits: torch.Tensor, target: torch.Tensor) -> None:
            features.append(watched.features.float().cpu())
            labels.append(target.cpu())
            progress.advance(len(target))

        try:
            evaluate_part(
                watched, loader, order, processes, channels_last=options.model.channels_last, each_batch=each_batch
            )
        finally:
            progress.bar.close()

    with_smaller_batches(one_pass, options.data.batch_size or 256, options.data.retry)
    check_no_nan(torch.cat(features), subject.title)
    return torch.cat(features).double().numpy(), torch.cat(labels).numpy()


@analysis(
    "transfer", "logistic regression on frozen features, 45 strengths", "MaxSup, tables 3 and 12", TransferOptions
)
def transfer(subjects: list[Subject], options: AnalyzeOptions, processes: Processes) -> Result:
    """Train a regression on the features of each run and measure it on the evaluation images."""
    import_extra("sklearn.linear_model", "analysis", "transfer")
    analysis = options.analysis
    rows: list[dict[str, Any]] = []
    curves: dict[str, list[dict[str, Any]]] = {}
    for subject in subjects:
        train = subject.source(split=analysis.train_split, num_samples=analysis.train_images)
        features = features_of(subject, train, processes)
        test = features_of(subject, subject.source(), processes)
        fits, last = linear_transfer(
            features, test, analysis.probe_val_fraction, analysis.probe_seed, analysis.max_iter
        )
        curves[subject.title] = [vars(fit) for fit in fits]
        best = max(fits, key=lambda fit: fit.accuracy)
        rows.append(
            {
                "run": subject.title,
                "top1": last.accuracy,
                "strength": last.strength,
                "top1_held_out": best.accuracy,
                "converged": last.converged,
                "fits_converged": sum(fit.converged for fit in fits),
                "fits": len(fits),
                "train_images": len(features[1]),
                "test_images": len(test[1]),
                "features": features[0].shape[1],
            }
        )
    record = {"objective": "sum of cross entropies + strength / 2 * squared norm of the weights", "runs": rows}
    record |= {"held_out_fraction": analysis.probe_val_fraction, "seed": analysis.probe_seed, "fits": curves}
    return Result(record, rows, {"transfer.png": lambda path: draw(path, rows, curves)})


def draw(path: Path, rows: list[dict[str, Any]], curves: dict[str, list[dict[str, Any]]]) -> None:
    """Accuracy on the held-out part against the strength; the chosen one is marked."""
    figure = new_plot("Logistic regression on frozen features", (PANEL[0] + 1.4, PANEL[1] + 1.2))
    axes = figure.subplots()
    for number, row in enumerate(rows):
        curve = curves[row["run"]]
        look, label = style(number), f"{row['run']}: test {row['top1']:.2f} %"
        axes.plot([fit["strength"] for fit in curve], [fit["accuracy"] for fit in curve], label=label, **look)
        axes.plot(row["strength"], row["top1_held_out"], "o", markersize=6, color=look["color"])
    axes.set_xscale("log")
    plain_axes(axes, "L2 strength (dots: chosen)", "held-out top-1 accuracy (%)")
    legend_below(figure, widest=3.2)
    save_plot(figure, path)
