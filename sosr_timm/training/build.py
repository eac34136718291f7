"""A run from its options: every part built once, before the first step."""

from __future__ import annotations

from timm.layers import set_fast_norm

from sosr_timm.checkpoints.run_folder import RunFolder
from sosr_timm.data.order.order import EvaluationOrder
from sosr_timm.data.order.seeding import seed_everything
from sosr_timm.distributed.processes import Processes
from sosr_timm.distributed.stop_signals import StopSignals
from sosr_timm.errors import UserError
from sosr_timm.options.task import is_multi_label
from sosr_timm.options.train import RunOptions, TrainOptions
from sosr_timm.setup.batches import make_batches, make_mixing
from sosr_timm.setup.datasets import open_sources
from sosr_timm.setup.distillation import check_distillation
from sosr_timm.setup.image_format import image_format
from sosr_timm.setup.loss import make_loss
from sosr_timm.setup.metric_names import SMALLER_IS_BETTER, best_metric, check_threshold, metric_names, parts_of_task
from sosr_timm.setup.model import create_model
from sosr_timm.setup.optimizer import create_optimizer, learning_rate
from sosr_timm.setup.sample_order import make_order
from sosr_timm.setup.schedule import create_schedule
from sosr_timm.setup.task import check_labels, make_task
from sosr_timm.setup.transforms import formats
from sosr_timm.setup.views import check_views, try_sizes
from sosr_timm.tracking.console import Console, Stopwatch
from sosr_timm.tracking.meters import Meters
from sosr_timm.tracking.metrics_log import MetricsLog
from sosr_timm.tracking.saved_images import SavedImages
from sosr_timm.training.nonfinite import Guard
from sosr_timm.training.run import Progress, Run


def build_run(options: TrainOptions, processes: Processes, folder: RunFolder) -> Run:
    """Every part of a run, in its initial state.

    Raises:
        UserError: options that do not fit each other, the data or the model.
    """
    _check_numbers(options)
    check_views(options)
    training_source, evaluation_source = open_sources(options.data, options.model, processes, options.run.seed)
    check_labels(options.task, training_source.info)
    check_threshold(options.task)
    check_distillation(options.task)
    best_metric(options)
    seed_everything(options.run.seed)
    set_fast_norm(options.model.fast_norm)
    model = create_model(options.model, training_source.info)
    form = image_format(options.model, training_source.info, model, options.data.input_img_mode)
    num_classes = model.num_classes

    try_sizes(model, formats(form, options.sizes))
    augmentation = options.augmentation
    mixed = augmentation.mixup > 0 or augmentation.cutmix > 0 or augmentation.cutmix_minmax is not None
    loss = make_loss(options.loss, options.task, num_classes, mixed, augmentation.aug_splits)
    mixing = None
    if mixed:
        mixing = make_mixing(
            augmentation, loss.smoothing, num_classes, options.optimizer.batch_size, is_multi_label(options.task)
        )

    seed, batch_size = options.run.seed, options.optimizer.batch_size
    order = make_order(options, len(training_source), processes)
    evaluation = EvaluationOrder(
        len(evaluation_source), options.optimizer.validation_batch_size or batch_size, processes.count, processes.rank
    )
    training, of_evaluation = make_batches(
        options, training_source, evaluation_source, form, mixing, evaluation, processes.device
    )

    task = make_task(model, loss, options, form, processes)
    optimizer = create_optimizer(
        task.trainable_module, options.optimizer, learning_rate(options.optimizer, options.schedule, processes.count)
    )
    task.trainable_module, optimizer = processes.accelerator.prepare(task.trainable_module, optimizer)
    updates = -(-order.batches_per_epoch // options.optimizer.grad_accum_steps)
    smaller = best_metric(options) in SMALLER_IS_BETTER
    schedule, epochs = create_schedule(optimizer, options.schedule, updates, seed, smaller)
    names = (*loss.parts, *parts_of_task(options.task))
    suffixes = ("", "_ema") if options.model.model_ema and not options.model.model_ema_force_cpu else ("",)
    columns = [f"train_{name}" for name in ("loss", *names)]
    columns += [f"eval_{name}{suffix}" for suffix in suffixes for name in metric_names(options.task)]
    return Run(
        options=options,
        processes=processes,
        folder=folder,
        task=task,
        loss=loss,
        optimizer=optimizer,
        schedule=schedule,
        epochs=epochs,
        order=order,
        training=training,
        evaluation=evaluation,
        evaluation_loader=of_evaluation,
        image_format=form,
        meters=Meters(names, processes.device),
        metrics_log=MetricsLog(folder, ("epoch", *columns, "lr")),
        stop_signals=StopSignals(processes, checkpoint_interval(options.run)),
        progress=Progress(epoch=options.schedule.start_epoch or 0),
        console=Console(processes.is_main),
        stopwatch=Stopwatch(),
        saved_images=SavedImages(
            folder.path / "images" if options.run.save_images and processes.is_main else None, form
        ),
        guard=Guard(names, options.run.on_nonfinite, options.data.max_bad_images, len(training_source), processes),
    )


def checkpoint_interval(options: RunOptions) -> str:
    """--checkpoint-every, or --recovery-interval as timm calls it.

    Raises:
        UserError: both are given.
    """
    if options.recovery_interval and options.checkpoint_every:
        raise UserError("--recovery-interval and --checkpoint-every say the same: give one of them")
    return str(options.recovery_interval) if options.recovery_interval else options.checkpoint_every


def _check_numbers(options: TrainOptions) -> None:
    lowest = {
        "batch_size": (options.optimizer.batch_size, 1),
        "grad_accum_steps": (options.optimizer.grad_accum_steps, 1),
        "log_interval": (options.run.log_interval, 1),
        "val_interval": (options.run.val_interval, 1),
        "checkpoint_hist": (options.run.checkpoint_hist, 0),
        "recovery_interval": (options.run.recovery_interval, 0),
        "patience_epochs": (options.schedule.patience_epochs, 0),
        "workers": (options.data.workers, 0),
        "seed": (options.run.seed, 0),
    }
    for name, (value, low) in lowest.items():
        if value < low:
            raise UserError(f"--{name.replace('_', '-')} {value}: at least {low}")
