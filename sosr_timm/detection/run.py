"""A detection run: the run of train.py with another task, other batches and another evaluation."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
import torch
from torch import Tensor, nn
from torch.nn.parallel import DistributedDataParallel

from sosr_timm.data.loaders.batch import Batch
from sosr_timm.detection.average_precision import Detections, Objects, average_precisions
from sosr_timm.detection.backbone import Backbone
from sosr_timm.detection.batches import Resize
from sosr_timm.detection.task import PARTS
from sosr_timm.detection.voc import Scenes
from sosr_timm.errors import UserError
from sosr_timm.metrics.titles import DETECTION as TITLES
from sosr_timm.training.evaluate import to_device
from sosr_timm.training.run import Run

# Columns of a detection in the table that processes add up: used, label, score, box.
COLUMNS = 7


@dataclass
class DetectionRun(Run):
    """Everything that training a detector needs, built.

    Attributes:
        backbone: what the detector was made from.
        evaluated: the images of the evaluation.
    """

    backbone: Backbone
    evaluated: Scenes

    @property
    def metrics(self) -> tuple[str, ...]:
        return tuple(TITLES)

    @property
    def class_sizes(self) -> None:
        return None

    @property
    def best_metric(self) -> str:
        return self.options.run.eval_metric

    def in_words(self, metrics: dict[str, float], suffix: str = "") -> list[str]:
        return [title.text(metrics[name + suffix]) for name, title in TITLES.items()]

    def value_for_plateau(self, means: dict[str, float], judged: bool) -> float:
        """The epoch's mean training loss, as the paper's schedule follows it."""
        return means["loss"]

    def parts(self, result: dict[str, Tensor]) -> dict[str, Tensor]:
        return {name: result[name].detach() for name in PARTS}

    def loss_scale(self, batch: Batch) -> float:
        return 1.0

    def evaluate(self, model: nn.Module, stop: Callable[[], bool] | None = None) -> dict[str, float] | None:
        found = self.detect(model, stop)
        if found is None:
            return None
        by_class = average_precisions(self.objects(), found, len(self.evaluated.classes))
        return {name: mean_of(values) for name, values in by_class.items()}

    def objects(self) -> list[Objects]:
        """The objects of each evaluation image."""
        return [Objects(scene.boxes, scene.labels, scene.difficult) for scene in self.evaluated.scenes]

    @torch.no_grad()
    def detect(self, model: nn.Module, stop: Callable[[], bool] | None = None) -> list[Detections] | None:
        """The detections in each evaluation image, in its own pixels; the same for any number of processes.

        Args:
            model: the run's, or its EMA.
            stop: asked before each batch; by default whether a signal came. True ends the pass.

        Raises:
            UserError: an image that cannot be read.
        """
        model = model.module if isinstance(model, DistributedDataParallel) else model
        model.eval()
        stop = stop or (lambda: bool(self.stop_signals.received()))
        order, options = self.evaluation, self.options
        table = torch.zeros(order.num_samples, options.model.max_detections, COLUMNS)
        batches = iter(self.evaluation_loader)
        for turn in range(-(-order.num_batches // order.world_size)):
            if stop():
                return None
            if turn >= len(order):
                continue
            batch = next(batches)
            if batch.unreadable:
                bad = batch.unreadable[0]
                raise UserError(f"{bad.name} cannot be read ({bad.reason}); fix or replace the image", on_one_rank=True)
            for index, found in zip(order.indices(batch.position), self.detect_in(model, batch), strict=True):
                self._enter(table[index], found, index)
        # Each image is in one process's table and 0 in the others': their sum is exact.
        return [as_detections(rows) for rows in self.processes.sum(table).numpy()]

    @torch.no_grad()
    def detect_in(self, model: nn.Module, batch: Batch) -> list[dict[str, Tensor]]:
        """What a model in evaluation mode gives for each image of a batch, in the pixels that it was shown."""
        images = to_device(batch.images, self.processes.device, self.options.model.channels_last, torch.float32)
        with self.processes.accelerator.autocast():
            return model(images, batch.target.sizes)

    def detections_in(self, model: nn.Module, index: int) -> Detections:
        """The detections in one evaluation image, by this process alone.

        Raises:
            OSError: the image cannot be read.
        """
        model.eval()
        batch = self.evaluation_loader.dataset.at((index,), 0)
        if batch.unreadable:
            raise OSError(f"{batch.unreadable[0].name}: {batch.unreadable[0].reason}")
        rows = torch.zeros(self.options.model.max_detections, COLUMNS)
        self._enter(rows, self.detect_in(model, batch)[0], index)
        return as_detections(rows.numpy())

    def _enter(self, rows: Tensor, output: dict[str, Tensor], index: int) -> None:
        """Write the detections of an image, in its own pixels, into its rows of the table."""
        scene = self.evaluated.scenes[index]
        width, height = Resize(self.options.data.min_side, self.options.data.max_side).size(scene.width, scene.height)
        scale = torch.tensor([scene.width / width, scene.height / height] * 2)
        count = len(output["scores"])
        rows[:count, 0] = 1
        rows[:count, 1] = output["labels"].float().cpu()
        rows[:count, 2] = output["scores"].float().cpu()
        rows[:count, 3:] = output["boxes"].float().cpu() * scale


def mean_of(values: list[float]) -> float:
    """The mean over classes that have an object to find."""
    known = [value for value in values if value == value]
    return float(np.mean(known)) if known else float("nan")


def as_detections(rows: np.ndarray) -> Detections:
    """The rows of a table that are in use."""
    used = rows[rows[:, 0] > 0]
    return Detections(used[:, 3:], used[:, 1].astype(np.int64), used[:, 2])
