"""Which metrics training and evaluation compute, and which of them selects the best checkpoint: by the task."""

from __future__ import annotations

from collections.abc import Sequence

import torch

from sosr_timm.data.order.order import EvaluationOrder
from sosr_timm.errors import UserError
from sosr_timm.metrics.multi_label import MultiLabelTable
from sosr_timm.metrics.shots import GROUP_METRICS, class_groups
from sosr_timm.metrics.table import MetricTable
from sosr_timm.metrics.titles import TRAINING, titles
from sosr_timm.options.task import TaskOptions, is_multi_label
from sosr_timm.options.train import TrainOptions

(TRAIN_LOSS,) = TRAINING
RAW = "_raw"  # behind a column of the weights themselves, where the EMA's has timm's name
# What timm's tasks report beside the loss.
PARTS = {
    "logit": ("task_loss", "kd_loss"),
    "feature": ("task_loss", "kd_loss"),
    "token": ("task_loss", "distill_loss"),
}
Table = MetricTable | MultiLabelTable


def new_table(
    task: TaskOptions,
    order: EvaluationOrder,
    num_classes: int,
    device: torch.device,
    class_sizes: Sequence[int] | None = None,
) -> Table:
    """An empty table of metrics for one evaluation.

    Args:
        task: of the run.
        order: of the evaluation.
        num_classes: K.
        device: where the logits will be.
        class_sizes: training images of each class, where the accuracy of classes with many, some and few is wanted.
    """
    if is_multi_label(task):
        return MultiLabelTable(
            order.num_batches, order.num_samples, order.batch_size, num_classes, task.multilabel_threshold
        )
    groups = None if class_sizes is None else class_groups(class_sizes)
    return MetricTable(order.num_batches, device=device, groups=groups)


def metric_names(task: TaskOptions) -> tuple[str, ...]:
    """Names of the metrics of an evaluation, as files and `--eval-metric` have them."""
    return (MultiLabelTable if is_multi_label(task) else MetricTable).METRICS


def parts_of_task(options: TaskOptions) -> tuple[str, ...]:
    """Names of what the task adds to the parts of the loss."""
    return PARTS[options.kd_distill_type] if options.kd_model_name else ()


def evaluates(options: TrainOptions) -> bool:
    """Whether epochs end with an evaluation: not where --val-split is empty, as in timm."""
    return bool(options.data.val_split) or options.data.val_fraction is not None


def evaluation_columns(options: TrainOptions) -> list[str]:
    """The columns of summary.csv that evaluations fill: with an EMA, timm's names are those of the EMA's values."""
    names = metric_names(options.task) if evaluates(options) else ()
    both = options.model.model_ema and not options.model.model_ema_force_cpu
    return [f"eval_{name}{suffix}" for suffix in ((RAW, "") if both else ("",)) for name in names]


def in_columns(metrics: dict[str, float]) -> dict[str, float]:
    """Metrics of an evaluation by the columns of summary.csv, which has none for groups of classes."""
    metrics = {name: value for name, value in metrics.items() if name.removesuffix("_ema") not in GROUP_METRICS}
    of_ema = {name.removesuffix("_ema"): value for name, value in metrics.items() if name.endswith("_ema")}
    suffix = RAW if of_ema else ""
    weights = {f"eval_{name}{suffix}": value for name, value in metrics.items() if not name.endswith("_ema")}
    return weights | {f"eval_{name}": value for name, value in of_ema.items()}


def best_metric(options: TrainOptions) -> str:
    """--eval-metric; where images have many labels, its default of top1 stands for map.

    Without evaluation it is the training loss, as in timm.

    Raises:
        UserError: a metric of the other task.
    """
    if not evaluates(options):
        return TRAIN_LOSS
    name, known = options.run.eval_metric, metric_names(options.task)
    if is_multi_label(options.task) and name == "top1":
        return "map"
    if name not in known:
        raise UserError(f"--eval-metric {name}: --task {options.task.task} has {', '.join(known)}")
    return name


def in_words(task: TaskOptions, metrics: dict[str, float], num_classes: int, suffix: str = "") -> list[str]:
    """The metrics of one set of weights as people read them.

    Args:
        task: of the run.
        metrics: by name and suffix.
        num_classes: K; with five or fewer classes top-5 is left out.
        suffix: of the set of weights: "" or "_ema".
    """
    shown = TRAINING if TRAIN_LOSS in metrics else titles(is_multi_label(task), num_classes)
    return [title.text(metrics[name + suffix]) for name, title in shown.items()]
