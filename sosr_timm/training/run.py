"""What a run is made of: every part built from the options, once, before the first step."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator
from dataclasses import asdict, dataclass, field
from typing import Any

import torch
from timm.task import TrainingTask
from timm.utils import unwrap_model
from torch import Tensor, nn
from torch.nn.parallel import DistributedDataParallel

from sosr_timm.checkpoints.run_folder import RunFolder
from sosr_timm.data.loaders.batch import Batch
from sosr_timm.data.loaders.device_loader import DeviceTrainingBatches
from sosr_timm.data.loaders.worker_loader import TrainingBatches
from sosr_timm.data.order.order import EvaluationOrder, TrainingOrder, TrainingSampler
from sosr_timm.data.transforms.image import ImageFormat
from sosr_timm.distributed.processes import Processes
from sosr_timm.distributed.stop_signals import StopSignals
from sosr_timm.losses.compose import ComposedLoss
from sosr_timm.options.train import TrainOptions
from sosr_timm.setup.metric_names import best_metric, in_words, metric_names, new_table, parts_of_task
from sosr_timm.setup.schedule import Schedule
from sosr_timm.tracking.console import Console
from sosr_timm.tracking.meters import Meters
from sosr_timm.tracking.metrics_log import MetricsLog
from sosr_timm.tracking.saved_images import SavedImages
from sosr_timm.tracking.stopwatch import Stopwatch
from sosr_timm.training.confidence import CleanImages, ConfidenceRecord
from sosr_timm.training.evaluate import evaluate
from sosr_timm.training.features import FeatureRecord
from sosr_timm.training.nonfinite import Guard


@dataclass
class Progress:
    """The position of a run in its training, and its best and last metrics.

    Attributes:
        epoch: completed epochs.
        update: updates done in the epoch after them.
        evaluating: the epoch's updates are done and batch norm is agreed on; its evaluation is not finished.
        best: the best epoch's number, checkpoint and metrics; None before the first evaluation.
        last: the last evaluation's metrics.
        seconds: wall-clock time so far.
    """

    epoch: int = 0
    update: int = 0
    evaluating: bool = False
    best: dict[str, Any] | None = None
    last: dict[str, Any] | None = None
    seconds: float = 0.0

    def state_dict(self) -> dict[str, Any]:
        return asdict(self)


@dataclass
class Run:
    """Everything that training needs, built. loop.py shows how it is used."""

    options: TrainOptions
    processes: Processes
    folder: RunFolder
    task: TrainingTask
    loss: ComposedLoss
    optimizer: torch.optim.Optimizer
    schedule: Schedule
    epochs: int
    order: TrainingOrder
    training: TrainingBatches | DeviceTrainingBatches
    evaluation: EvaluationOrder | None
    evaluation_loader: Iterable[Batch] | None
    image_format: ImageFormat
    meters: Meters
    metrics_log: MetricsLog
    stop_signals: StopSignals
    progress: Progress
    console: Console
    stopwatch: Stopwatch
    guard: Guard
    saved_images: SavedImages
    confidence: ConfidenceRecord = field(default_factory=ConfidenceRecord, kw_only=True)
    clean_images: CleanImages | None = field(default=None, kw_only=True)
    features: FeatureRecord = field(default_factory=FeatureRecord, kw_only=True)

    @property
    def evaluation_images(self) -> int:
        """Images of an evaluation; 0 where there is none."""
        return 0 if self.evaluation is None else self.evaluation.num_samples

    @property
    def metrics(self) -> tuple[str, ...]:
        """Names of what an evaluation finds."""
        return metric_names(self.options.task)

    @property
    def class_sizes(self) -> list[int] | None:
        """Training images of each class, where --long-tail made them differ; None elsewhere."""
        sizes = self.training.source.info.origin.get("class_sizes")
        shown = self.options.data.long_tail is not None and sizes and len(sizes) == self.model.num_classes
        return sizes if shown else None

    @property
    def best_metric(self) -> str:
        """The metric that names the best epoch."""
        return best_metric(self.options)

    def in_words(self, metrics: dict[str, float], suffix: str = "") -> list[str]:
        """The metrics of one set of weights as people read them; `suffix` is "" or "_ema"."""
        return in_words(self.options.task, metrics, self.model.num_classes, suffix)

    def evaluate(self, model: nn.Module, stop: Callable[[], bool] | None = None) -> dict[str, float] | None:
        """Metrics of a model on the evaluation set, the same on every process; None where the pass was stopped.

        Args:
            model: the run's, or its EMA.
            stop: asked before each batch; by default whether a signal came.
        """
        table = evaluate(
            # A wrapped model would broadcast its buffers, for which every process would need as many batches.
            model.module if isinstance(model, DistributedDataParallel) else model,
            self.evaluation_loader,
            self.evaluation,
            self.processes,
            channels_last=self.options.model.channels_last,
            stop=stop or (lambda: bool(self.stop_signals.received())),
            table=new_table(
                self.options.task, self.evaluation, self.model.num_classes, self.processes.device, self.class_sizes
            ),
        )
        return None if table is None else table.compute()

    def value_for_plateau(self, means: dict[str, float], judged: bool) -> float | None:
        """What a schedule that waits for a plateau follows after an epoch; None where nothing is known.

        Args:
            means: of the epoch's training loss and its parts.
            judged: the epoch was evaluated, or is judged by its training loss.
        """
        return self.progress.last["value"] if judged else None

    def parts(self, result: dict[str, Tensor]) -> dict[str, Tensor]:
        """The parts of a batch's loss by name: those of the loss, and those that a distillation adds."""
        return {**self.loss.parts, **{name: result[name].detach() for name in parts_of_task(self.options.task)}}

    @property
    def updates_per_epoch(self) -> int:
        return -(-self.order.batches_per_epoch // self.options.optimizer.grad_accum_steps)

    @property
    def stop_epoch(self) -> int:
        """Epochs after which this start of the run ends."""
        return min(self.epochs, self.options.schedule.stop_epoch or self.epochs)

    @property
    def step(self) -> int:
        """Updates done since the start of training."""
        return self.progress.epoch * self.updates_per_epoch + self.progress.update

    @property
    def lr(self) -> float:
        """Learning rate, the mean over parameter groups."""
        rates = [group["lr"] for group in self.optimizer.param_groups]
        return sum(rates) / len(rates)

    def state_of_forward(self) -> list[Tensor]:
        """The tensors that the forward and backward passes of training change, besides gradients."""
        return [*self.model.buffers(), *self.loss.buffers(), self.meters.interval, *self.confidence.state]

    @property
    def model(self) -> nn.Module:
        """The evaluated model, without the wrappers of processes and compilers."""
        return unwrap_model(self.task.get_eval_model())

    @property
    def ema(self) -> nn.Module | None:
        """The model with the EMA weights."""
        ema = self.task.get_eval_model(ema=True)
        return None if ema is None else unwrap_model(ema)

    @property
    def trained(self) -> nn.Module:
        """Everything that is trained: the model, and what a distillation adds to it."""
        return unwrap_model(self.task.get_trainable_module())

    @property
    def dtype(self) -> torch.dtype:
        """Of the weights, and so of the images."""
        return next(self.model.parameters()).dtype

    def batches_of(self, update: int) -> int:
        """Batches whose gradients make an update: fewer in the last one where the epoch does not divide evenly."""
        group = self.options.optimizer.grad_accum_steps
        return min(group, self.order.batches_per_epoch - update * group)

    def samples_of_last(self, batches: int) -> int:
        """Samples of the last batches that were trained on, over all processes."""
        done = min(self.progress.update * self.options.optimizer.grad_accum_steps, self.order.batches_per_epoch)
        return self.order.samples_of(self.progress.epoch, slice(max(0, done - batches), done))

    def loss_scale(self, batch: Batch) -> float:
        """What --variable-batch-loss-scale weighs a batch's loss with."""
        if self.options.sizes.train_img_sizes is None:
            return 1.0
        power = {"none": 0.0, "sqrt": 0.5, "linear": 1.0}[self.options.sizes.variable_batch_loss_scale]
        return (len(batch.images) / self.options.optimizer.batch_size) ** power

    def batches(self) -> Iterator[Batch]:
        """The training batches from the run's current position to its end."""
        batch = self.progress.update * self.options.optimizer.grad_accum_steps
        sampler = TrainingSampler(self.order, self.progress.epoch, batch, self.stop_epoch)
        data = self.options.data
        return self.training.batches(sampler, data.workers, data.pin_mem)
