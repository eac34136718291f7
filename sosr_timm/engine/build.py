"""A run from its options: every part built once, before the first step."""

from __future__ import annotations

import torch
from timm.data.mixup import mixup_target
from timm.task import ClassificationTask
from torch import nn

from sosr_timm.data.order import EvaluationOrder, TrainingOrder
from sosr_timm.data.seeding import seed_everything
from sosr_timm.engine.batches import make_batches, make_mixing
from sosr_timm.engine.datasets import open_sources
from sosr_timm.engine.folder import RunFolder
from sosr_timm.engine.guard import Guard
from sosr_timm.engine.journal import Journal
from sosr_timm.engine.launch import Processes
from sosr_timm.engine.log import Console, Stopwatch
from sosr_timm.engine.meters import Meters
from sosr_timm.engine.network import create_network, image_format
from sosr_timm.engine.optimization import create_optimizer, create_schedule, learning_rate
from sosr_timm.engine.run import METRICS, Progress, Run
from sosr_timm.engine.signals import Requests
from sosr_timm.errors import UserError
from sosr_timm.losses.compose import ComposedLoss, create_loss
from sosr_timm.losses.spec import parse_loss
from sosr_timm.options.train import LossOptions, TrainOptions


def resolve_smoothing(options: LossOptions) -> float:
    """--smoothing, else timm's default of 0.1 for a bare loss of timm's and 0 as soon as --loss names one of ours."""
    if options.smoothing is not None:
        return options.smoothing
    spec = parse_loss(options.loss)
    bare = not spec.penalties and spec.base.name != "ols" and "smoothing" not in spec.base.given
    return 0.1 if bare and "smoothing" in spec.base.keywords else 0.0


def origin_of_smoothing(options: LossOptions) -> str:
    """Where the value of `resolve_smoothing` comes from, in words."""
    if options.smoothing is not None:
        return "--smoothing"
    spec = parse_loss(options.loss)
    if "smoothing" in spec.base.given:
        return "--loss says so"
    return "timm's default" if resolve_smoothing(options) else "the default of --loss"


def make_loss(options: LossOptions, num_classes: int, mixed: bool) -> ComposedLoss:
    """The loss, tried once on the kind of target that will come.

    Raises:
        UserError: a faulty spec, or a combination that no paper defines.
    """
    try:
        loss = create_loss(options.loss, resolve_smoothing(options), num_classes, soft_targets=mixed)
        target = torch.arange(2) % num_classes
        if mixed:
            target = mixup_target(target, num_classes, 0.7, loss.smoothing)
        loss.eval()(torch.zeros(2, num_classes), target)
    except ValueError as error:
        raise UserError(f"--loss '{options.loss}': {error}") from None
    return loss.train()


def build_run(options: TrainOptions, processes: Processes, folder: RunFolder) -> Run:
    """Every part of a run, in its initial state.

    Raises:
        UserError: options that do not fit each other, the data or the model.
    """
    _check_numbers(options)
    training_source, evaluation_source = open_sources(options.data, options.model, processes, options.run.seed)
    seed_everything(options.run.seed)
    model = create_network(options.model, training_source.info)
    form = image_format(options.model, training_source.info, model, options.data.input_img_mode)
    num_classes = model.num_classes

    augmentation = options.augmentation
    mixed = augmentation.mixup > 0 or augmentation.cutmix > 0 or augmentation.cutmix_minmax is not None
    loss = make_loss(options.loss, num_classes, mixed)
    mixing = make_mixing(augmentation, loss.smoothing, num_classes, options.optimizer.batch_size) if mixed else None

    seed, batch_size = options.run.seed, options.optimizer.batch_size
    try:
        order = TrainingOrder(len(training_source), batch_size, processes.count, processes.rank, seed)
    except ValueError as error:
        raise UserError(f"--batch-size {batch_size}: {error}") from None
    evaluation = EvaluationOrder(
        len(evaluation_source), options.optimizer.validation_batch_size or batch_size, processes.count, processes.rank
    )
    training, of_evaluation = make_batches(
        options, training_source, evaluation_source, form, mixing, evaluation, processes.device
    )

    task = _make_task(model, loss, options, processes)
    optimizer = create_optimizer(
        model, options.optimizer, learning_rate(options.optimizer, options.schedule, processes.count)
    )
    task.trainable_module, optimizer = processes.accelerator.prepare(task.trainable_module, optimizer)
    updates = -(-order.batches_per_epoch // options.optimizer.grad_accum_steps)
    schedule, epochs = create_schedule(optimizer, options.schedule, updates, seed)
    names = tuple(loss.parts)
    suffixes = ("", "_ema") if options.model.model_ema and not options.model.model_ema_force_cpu else ("",)
    columns = [f"train_{name}" for name in ("loss", *names)]
    columns += [f"eval_{name}{suffix}" for suffix in suffixes for name in METRICS]
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
        journal=Journal(folder, ("epoch", *columns, "lr")),
        requests=Requests(processes, options.run.checkpoint_every),
        progress=Progress(),
        console=Console(processes.is_main),
        stopwatch=Stopwatch(),
        guard=Guard(names, options.run.on_nonfinite, options.data.max_bad_images, len(training_source), processes),
    )


def _check_numbers(options: TrainOptions) -> None:
    lowest = {
        "batch_size": (options.optimizer.batch_size, 1),
        "grad_accum_steps": (options.optimizer.grad_accum_steps, 1),
        "log_interval": (options.run.log_interval, 1),
        "val_interval": (options.run.val_interval, 1),
        "checkpoint_hist": (options.run.checkpoint_hist, 0),
        "workers": (options.data.workers, 0),
        "seed": (options.run.seed, 0),
    }
    for name, (value, low) in lowest.items():
        if value < low:
            raise UserError(f"--{name.replace('_', '-')} {value}: at least {low}")


def _make_task(model: nn.Module, loss: ComposedLoss, options: TrainOptions, processes: Processes) -> ClassificationTask:
    device = processes.device
    model.to(device=device)
    if options.model.channels_last:
        model.to(memory_format=torch.channels_last)
    if options.model.sync_bn and processes.count > 1:
        from timm.layers import convert_sync_batchnorm

        model = convert_sync_batchnorm(model)
    task = ClassificationTask(model, criterion=loss, device=device, verbose=False)
    if options.model.model_ema:
        task.setup_ema(
            decay=options.model.model_ema_decay,
            use_warmup=options.model.model_ema_warmup,
            device=torch.device("cpu") if options.model.model_ema_force_cpu else None,
        )
    if options.model.torchcompile:
        task.compile(backend=options.model.torchcompile, mode=options.model.torchcompile_mode)
    return task
