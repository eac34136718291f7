"""The task of a run, timm's: the model with its loss and EMA, compiled on request."""

from __future__ import annotations

import torch
from timm.task import ClassificationTask, MultiLabelClassificationTask, TrainingTask
from torch import nn

from sosr_timm.data.sources.source import SourceInfo
from sosr_timm.data.transforms.image import ImageFormat
from sosr_timm.distributed.processes import Processes
from sosr_timm.errors import UserError
from sosr_timm.losses.compose import ComposedLoss
from sosr_timm.options.task import TaskOptions, is_multi_label
from sosr_timm.options.train import TrainOptions
from sosr_timm.registry import close_names
from sosr_timm.setup.distillation import make_distillation
from sosr_timm.setup.model import try_model
from sosr_timm.setup.transforms import formats
from sosr_timm.setup.views import with_split_batch_norm


def check_labels(task: TaskOptions, info: SourceInfo) -> None:
    """Refuse labels that the task cannot learn from.

    Raises:
        UserError: one class per image for many labels, or the other way round.
    """
    if is_multi_label(task) and not info.multi_hot:
        raise UserError("--task multilabel: the data set has one class per image, not a vector of labels")
    if info.multi_hot and not is_multi_label(task):
        raise UserError("the data set has vectors of labels: add --task multilabel")


def weight_type(options: TrainOptions) -> torch.dtype:
    """--model-dtype.

    Raises:
        UserError: mixed precision of weights that are in half precision already.
    """
    name = options.model.model_dtype or "float32"
    if options.model.amp and name != "float32":
        raise UserError(f"--amp keeps weights in float32: leave it out, or --model-dtype {name}")
    return getattr(torch, name)


def make_task(
    model: nn.Module, loss: ComposedLoss, options: TrainOptions, form: ImageFormat, processes: Processes
) -> TrainingTask:
    """The task, on its device, not yet shared by the processes."""
    device, dtype = processes.device, weight_type(options)
    model = with_split_batch_norm(model, options)
    model.to(device=device, dtype=dtype)
    if options.model.channels_last:
        model.to(memory_format=torch.channels_last)
    try_model(model, formats(form, options.sizes))
    if options.model.sync_bn and processes.count > 1:
        from timm.layers import convert_sync_batchnorm

        model = convert_sync_batchnorm(model)
    if options.task.kd_model_name:
        task = make_distillation(model, loss, options.task, form, processes)
    else:
        kind = MultiLabelClassificationTask if is_multi_label(options.task) else ClassificationTask
        task = kind(model, criterion=loss, device=device, dtype=dtype, verbose=False)
    if options.model.model_ema:
        task.setup_ema(
            decay=options.model.model_ema_decay,
            use_warmup=options.model.model_ema_warmup,
            device=torch.device("cpu") if options.model.model_ema_force_cpu else None,
            # The change of an EMA in a step is below the resolution of half precision.
            dtype=None if dtype == torch.float32 else torch.float32,
        )
    if options.model.torchcompile:
        check_compiler(options.model.torchcompile, options.model.torchcompile_mode)
        compile_step(task, options.model.torchcompile, options.model.torchcompile_mode)
    return task


def check_compiler(backend: str, mode: str | None) -> None:
    """Refuse what torch.compile does not know.

    Raises:
        UserError: with the near or all known names.
    """
    from torch._inductor import list_mode_options

    if backend not in torch.compiler.list_backends(exclude_tags=()):
        near = close_names(backend, torch.compiler.list_backends())
        raise UserError(f"--torchcompile {backend}: unknown backend; {near}")
    modes = list(list_mode_options())
    if mode is not None and mode not in modes:
        raise UserError(f"--torchcompile-mode {mode}: unknown mode; {close_names(mode, modes)}")


def compile_step(task: TrainingTask, backend: str, mode: str | None) -> None:
    """Compile model and loss as one graph for training, and the model alone for evaluation.

    timm compiles the model alone, and torch the call of the task around it. A distillation compares statistics of its
    two models by value, so timm compiles each of them by itself.
    """
    task.compile(backend=backend, mode=mode)
    if isinstance(task, ClassificationTask):
        nn.Module.compile(task, backend=backend, mode=mode)
