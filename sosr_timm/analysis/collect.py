"""One pass of a model over images, which gives all that the analyses need: logits, penultimate features, losses."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import torch
from torch import Tensor, nn

from sosr_timm.analysis.subjects import Subject
from sosr_timm.data.order.order import EvaluationOrder
from sosr_timm.data.sources.source import ImageSource, names_of_classes
from sosr_timm.distributed.processes import Processes
from sosr_timm.errors import UserError, one_line
from sosr_timm.metrics.calibration import in_float64
from sosr_timm.setup.batches import most_workers
from sosr_timm.training.evaluate import evaluate_part
from sosr_timm.validation.data import choose_classes
from sosr_timm.validation.inference_model import Placed, place
from sosr_timm.validation.loader import make_loader
from sosr_timm.validation.measure import Progress
from sosr_timm.validation.retry import with_smaller_batches


@dataclass(frozen=True)
class Collected:
    """What a pass gave, in the order of the data set.

    Attributes:
        labels: (N,) int64.
        logits: (N, K) float32.
        losses: (N,) float64, -log p of the label in nats.
        features: (N, D) float32, what the classifier takes; None where they were not asked for.
        weight: (K, D) float32, of the classifier where it is one linear layer; None elsewhere.
        bias: (K,) float32 of the same; None where it has none.
        class_names: K names; numbers where none are known.
    """

    labels: np.ndarray
    logits: np.ndarray
    losses: np.ndarray
    features: np.ndarray | None
    weight: np.ndarray | None
    bias: np.ndarray | None
    class_names: tuple[str, ...]

    @property
    def top1(self) -> float:
        """Accuracy in percent."""
        return 100.0 * float((self.logits.argmax(axis=1) == self.labels).mean())


class WithFeatures(nn.Module):
    """A timm model that keeps the penultimate features of its last batch.

    Args:
        placed: the model as it is evaluated.
        title: for messages.
    """

    def __init__(self, placed: Placed, title: str):
        super().__init__()
        self.placed, self.title = placed, title
        self.features: Tensor | None = None

    def forward(self, images: Tensor) -> Tensor:
        model = self.placed.model
        try:
            maps = model.forward_features(images.to(self.placed.dtype))
            features = model.forward_head(maps, pre_logits=True)
        except (AttributeError, TypeError) as error:
            raise UserError(
                f"{self.title}: the model has no head as timm's models have it ({one_line(error)})"
            ) from None
        if not isinstance(features, Tensor) or features.ndim != 2:
            shape = tuple(features.shape) if isinstance(features, Tensor) else type(features).__name__
            raise UserError(f"{self.title}: the classifier takes {shape}, not one vector for each image")
        self.features = features
        return self.placed.select(model.forward_head(maps))


def collect(
    subject: Subject,
    processes: Processes,
    source: ImageSource | None = None,
    features: bool = False,
) -> Collected:
    """Pass a model over images once, in evaluation mode.

    Args:
        subject: the run or model.
        processes: the one process.
        source: of the images; those of the options, else of the run, where not given.
        features: keep the penultimate features too.

    Raises:
        UserError: anything that the user can fix: other classes, unreadable images, a head of another form.
    """
    source = subject.source() if source is None else source
    if source.info.multi_hot:
        raise UserError(f"{subject.title}: analyses are for one class per image; the images have many labels")
    run, options = subject.run, subject.options
    model, form = subject.model(source)
    model_classes = run.about["num_classes"] if run else model.num_classes
    trained = run.about.get("data_classes") if run else None
    classes = choose_classes(options, source.info, model_classes, trained)
    placed, form = place(model, form, options.model, processes.device, classes.allowed, classes.renumbered)
    weight, bias = linear_classifier(model)
    if classes.renumbered and weight is not None:
        weight, bias = weight[classes.allowed], None if bias is None else bias[classes.allowed]
    watched = WithFeatures(placed, subject.title) if features else placed
    workers, size = options.data.workers, options.data.batch_size or 256
    if run is not None:
        workers = min(run.options.data.workers, most_workers(), workers)
        stored = run.options.optimizer
        size = options.data.batch_size or stored.validation_batch_size or stored.batch_size

    def one_pass(size: int) -> tuple[list[Tensor], list[Tensor], list[Tensor]]:
        order = EvaluationOrder(len(source), size)
        loader = make_loader(source, form, order, processes.device, options.data, workers)
        progress = Progress(subject.title, len(order), processes, 0)
        logits, labels, kept = [], [], []

        def each_batch(batch: int, found: Tensor, target: Tensor) -> None:
            logits.append(found.float().cpu())
            labels.append(target.cpu())
            if features:
                kept.append(watched.features.float().cpu())
            progress.advance(len(target))

        try:
            evaluate_part(
                watched, loader, order, processes, channels_last=options.model.channels_last, each_batch=each_batch
            )
        finally:
            progress.bar.close()
        return logits, labels, kept

    (logits, labels, kept), _ = with_smaller_batches(one_pass, size, options.data.retry)
    logits, labels = torch.cat(logits), torch.cat(labels)
    check_no_nan(logits, subject.title)
    names = names_of_classes(source.info.class_names, classes.count)
    losses = -in_float64(logits).log_softmax(dim=1).gather(1, labels.unsqueeze(1)).squeeze(1)
    return Collected(
        labels=labels.numpy(),
        logits=logits.numpy(),
        losses=losses.numpy(),
        features=torch.cat(kept).numpy() if features else None,
        weight=weight,
        bias=bias,
        class_names=names if names and len(names) == classes.count else tuple(map(str, range(classes.count))),
    )


def check_no_nan(values: Tensor, title: str) -> None:
    """Raise where the values of an image are undefined, from (N, ...).

    Raises:
        UserError: with their number.
    """
    # A class that may not be guessed has a logit of minus infinity.
    bad = int((values.isnan() | values.isposinf()).flatten(1).any(dim=1).sum())
    if bad:
        raise UserError(
            f"{title}: the outputs for {bad} of {len(values)} images are not finite: damaged weights, or a precision "
            "that is too low (--amp-dtype, --model-dtype)"
        )


def linear_classifier(model: nn.Module) -> tuple[np.ndarray | None, np.ndarray | None]:
    """(K, D) weight and (K,) bias of a model's classifier; None and None where it is not one linear layer."""
    layer = model.get_classifier() if hasattr(model, "get_classifier") else None
    weight = getattr(layer, "weight", None)
    if not isinstance(layer, (nn.Linear, nn.Conv2d)) or weight.shape[2:].numel() > 1:
        return None, None
    bias = None if layer.bias is None else layer.bias.detach().float().cpu().numpy()
    return weight.detach().float().flatten(1).cpu().numpy(), bias
