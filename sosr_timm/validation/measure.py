"""One pass of a model over an evaluation set: its tables, its predictions, its speed."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass

import torch
from torch import Tensor, nn

from sosr_timm.data.loaders.batch import Batch
from sosr_timm.data.order.order import EvaluationOrder
from sosr_timm.distributed.processes import Processes
from sosr_timm.metrics.classwise import ClasswiseCalibration
from sosr_timm.metrics.confidence import P_NORM
from sosr_timm.metrics.samples import SampleTable
from sosr_timm.metrics.table import MetricTable
from sosr_timm.setup.metric_names import Table
from sosr_timm.text import rate
from sosr_timm.tracking.bar import Bar
from sosr_timm.tracking.console import logger
from sosr_timm.tracking.stopwatch import Stopwatch
from sosr_timm.training.evaluate import evaluate_part
from sosr_timm.validation.collective_errors import together


@dataclass
class PassResult:
    """What a pass gave, the same on every process.

    Attributes:
        table: of the metrics.
        samples: the predictions; None where images have many labels.
        classwise: the calibration of every class; None where images have many labels.
        speed: `images_per_second` of all processes, without the first batch where there are others; `data_wait`, the
            share of the time spent waiting for data; `seconds` of the complete pass.
    """

    table: Table
    samples: SampleTable | None
    classwise: ClasswiseCalibration | None
    speed: dict[str, float]


class Progress:
    """Clock and progress line of a pass: a bar on a terminal, else a line every `interval` batches.

    Args:
        title: of the pass.
        batches: of this process.
        processes: that share the pass; the main one prints.
        interval: batches between lines; 0: none.
    """

    def __init__(self, title: str, batches: int, processes: Processes, interval: int):
        self.title, self.batches, self.interval = title, batches, interval
        self.is_main = processes.is_main
        self.done = self.images = self.first_images = 0
        self.stopwatch = Stopwatch()
        self.first_ended = self.first_waited = 0.0
        self.bar = Bar(batches, title, enabled=None if self.is_main else False)

    def advance(self, images: int) -> None:
        """One batch is done, as far as the host can tell without waiting for the device."""
        self.done += 1
        self.images += images
        if self.done == 1 < self.batches:
            self.first_ended, self.first_images = self.stopwatch.seconds, images
            self.first_waited = self.stopwatch.waited
        self.bar.update()
        if not self.is_main or not self.interval or self.done % self.interval:
            return
        seconds = self.stopwatch.seconds
        facts = [rate(self.images / seconds), f"waiting for data {self.stopwatch.waited / seconds:.0%}"]
        if self.bar.disable:
            logger.info("%s: batch %d/%d, %s", self.title, self.done, self.batches, ", ".join(facts))
        else:
            self.bar.show(facts)

    def speed(self, processes: Processes) -> dict[str, float]:
        """The speed of all processes together; every process must ask."""
        all_seconds, all_waited = self.stopwatch.read()
        self.bar.close()
        mine = (all_seconds - self.first_ended, all_waited - self.first_waited, self.images - self.first_images)
        total = torch.tensor([*mine, all_seconds], dtype=torch.float64)
        seconds, waited, images, all_seconds = (processes.sum(total) / processes.count).tolist()
        return {
            "images_per_second": images * processes.count / seconds,
            "data_wait": waited / seconds,
            "seconds": all_seconds,
        }


def measure(
    model: nn.Module,
    loader: Iterable[Batch],
    order: EvaluationOrder,
    processes: Processes,
    *,
    classes: int,
    table: Table | None = None,
    title: str = "",
    channels_last: bool = False,
    keep_logits: bool = False,
    p_norm: float = P_NORM,
    interval: int = 0,
) -> PassResult:
    """One pass over an evaluation set by all processes.

    Args:
        model: (M, C, H, W) -> (M, classes) logits, on this process's device.
        loader: of this process's batches.
        order: that the loader follows.
        processes: that share the pass.
        classes: K of the logits.
        table: to fill; one of single-label metrics where not given.
        title: of the progress line.
        channels_last: memory layout of the images.
        keep_logits: keep them all.
        p_norm: p of the confidence `p_norm`.
        interval: batches between progress lines; 0: none.

    Raises:
        UserError: an image that cannot be read.
        Exception: what failed, on every process.
    """
    table = MetricTable(order.num_batches, device=processes.device) if table is None else table
    samples = classwise = None
    if isinstance(table, MetricTable):
        samples = SampleTable(
            order.num_samples, classes, keep_logits=keep_logits, device=processes.device, p_norm=p_norm
        )
        classwise = ClasswiseCalibration(classes, table.bins, processes.device)
    progress = Progress(title, len(order), processes, interval)

    def each_batch(batch: int, logits: Tensor, target: Tensor) -> None:
        if samples is not None:
            samples.update(batch * order.batch_size, logits, target)
            classwise.update(logits, target)
        progress.advance(len(target))

    def work() -> Table | None:
        watched = progress.stopwatch.watch(loader)
        return evaluate_part(
            model, watched, order, processes, channels_last=channels_last, table=table, each_batch=each_batch
        )

    try:
        if together(processes, work) is None:
            raise AssertionError("nobody asked the evaluation to stop")
        table.reduce(processes.sum)
        if samples is not None:
            samples.reduce(processes.sum)
            classwise.reduce(processes.sum)
            samples.rows = samples.rows.cpu()  # waits for the device, so that the clock stops with the work
        return PassResult(table, samples, classwise, progress.speed(processes))
    finally:
        progress.bar.close()
