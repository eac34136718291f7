"""What a run is going to do, in words: data, model, loss, updates, the course of the learning rate."""

from __future__ import annotations

import math

import torch

from sosr_timm.data.loaders.device_loader import DeviceEvaluationLoader, DeviceTrainingBatches
from sosr_timm.data.order.shuffle import Permutation, ShardWindows
from sosr_timm.setup.loss import origin_of_smoothing
from sosr_timm.text import counted
from sosr_timm.training.run import Run

BARS = "▁▂▃▄▅▆▇█"
WIDTH = 60
PRECISIONS = {"fp16": "float16", "bf16": "bfloat16"}


def facts_of(run: Run) -> dict[str, str]:
    """Name -> text of what a run is made of, as it is printed at the start of a run and of a dry run."""
    return {**_about_data(run), **_about_model(run), **about_length(run)}


def _about_data(run: Run) -> dict[str, str]:
    data, form, origin = run.options.data, run.image_format, run.training.source.info.origin
    facts = {
        "data": f"{data.dataset or 'folder'} {data.data or data.data_dir or ''}".strip(),
        "images": f"{run.order.num_samples:,} for training, {run.evaluation_images:,} for evaluation, "
        f"{counted(run.model.num_classes, 'class', 'classes')}",
    }
    if "held_out" in origin:
        facts["held out"] = (
            f"{counted(origin['held_out'], 'image')} of the training split, by a hash of their names, for evaluation "
            f"(--val-fraction {origin['val_fraction']:g})"
        )
    if "labels_sha256" in origin:
        facts["modified"] = (
            f"training set with {max(origin['class_sizes']):,} to {min(origin['class_sizes']):,} images per class, "
            f"{counted(origin['labels_exchanged'], 'label')} exchanged"
        )
    return facts | {
        "input": f"{form.channels} x {form.height} x {form.width} (channels x height x width), {form.interpolation}, "
        f"mean {numbers(form.mean)}, std {numbers(form.std)}",
        "batches": f"made {makers_of(run)}",
        **_about_order(run),
    }


def _about_order(run: Run) -> dict[str, str]:
    """The order of the samples, where it is not the permutation that every run had once."""
    shuffle = run.order.passes.shuffle
    if isinstance(shuffle, ShardWindows):
        shards = counted(len(shuffle.sizes), "shard")
        return {"order": f"{shards} in random order, samples of {shuffle.window:,} of them at a time (--order shards)"}
    return {} if isinstance(shuffle, Permutation) else {"order": f"a {shuffle.name}, computed and not kept in memory"}


def makers_of(run: Run) -> str:
    """What makes the batches of training, and of evaluation if that differs."""
    count = run.options.data.workers
    workers = f"by {counted(count, 'loader process', 'loader processes')}" if count else "by this process"
    training = "on the device" if isinstance(run.training, DeviceTrainingBatches) else workers
    if run.evaluation_loader is None:
        return training
    evaluation = "on the device" if isinstance(run.evaluation_loader, DeviceEvaluationLoader) else workers
    return training if training == evaluation else f"{training}, those of evaluation {evaluation}"


def _about_model(run: Run) -> dict[str, str]:
    return {
        "model": f"{run.options.model.model}, {about_parameters(run)}",
        "loss": run.loss.full_form,
        "smoothing": f"{run.loss.smoothing:g}: {origin_of_smoothing(run.options.loss, run.options.task)}",
        "optimizer": about_optimizer(run),
    }


def about_parameters(run: Run) -> str:
    """How many parameters the model has, and how many of them are trained where not all are."""
    parameters = list(run.model.parameters())
    total = sum(parameter.numel() for parameter in parameters)
    trained = sum(parameter.numel() for parameter in parameters if parameter.requires_grad)
    return f"{total:,} parameters" + ("" if trained == total else f", {trained:,} of them trained")


def about_optimizer(run: Run) -> str:
    """The optimizer, its groups and their weight decays."""
    groups = run.optimizer.param_groups
    decays = ", ".join(sorted({f"{group['weight_decay']:g}" for group in groups}))
    kind = type(run.optimizer.optimizer).__name__
    return f"{kind}, {counted(len(groups), 'group')} of parameters, weight decay {decays}"


def about_length(run: Run) -> dict[str, str]:
    """Samples of an update, epochs and updates, device and precision."""
    processes, options = run.processes, run.options.optimizer
    samples = run.order.global_batch * options.grad_accum_steps
    processes_counted = counted(processes.count, "process", "processes")
    device = str(processes.device)
    if processes.device.type == "cpu":
        device += f" ({counted(torch.get_num_threads(), 'thread')})"
    epochs = f"{counted(run.epochs, 'epoch')} (0 to {run.epochs - 1})" if run.epochs > 1 else "1 epoch (0)"
    updates = run.epochs * run.updates_per_epoch
    return {
        "update": f"{counted(samples, 'sample')}: {options.batch_size} per process x {processes_counted} x "
        f"{counted(options.grad_accum_steps, 'batch', 'batches')}",
        "length": f"{epochs} of {counted(run.updates_per_epoch, 'update')}, {updates:,} in all",
        "device": f"{device}, {processes_counted}, {precision_of(run)}",
    }


def precision_of(run: Run) -> str:
    """The precision that a run computes in: of --amp where it has an effect, else of the weights."""
    accelerator = run.processes.accelerator
    mixed = accelerator.mixed_precision if accelerator.native_amp else "no"
    return str(run.dtype).removeprefix("torch.") if mixed == "no" else f"{PRECISIONS[mixed]} by autocast"


def rates_of(run: Run) -> list[float]:
    """The learning rate at the start of each epoch (mean over parameter groups); the schedule is left at its start."""
    rates = []
    for epoch in range(run.epochs):
        run.schedule.set(epoch, 0)
        rates.append(run.lr)
    run.schedule.set(0, 0)
    return rates


def learning_rates(run: Run) -> str:
    """The course of the learning rate: a curve in one line, and some values with the epoch that starts with each."""
    rates = rates_of(run)
    columns = [rates[position * len(rates) // WIDTH] for position in range(WIDTH)] if len(rates) > WIDTH else rates
    highest = max(max(rates), math.ulp(0.0))
    curve = "".join(BARS[round(rate / highest * (len(BARS) - 1))] for rate in columns)
    shown = sorted({0, *(position * (len(rates) - 1) // 6 for position in range(7)), rates.index(max(rates))})
    values = ", ".join(f"{rates[epoch]:.3g} ({epoch})" for epoch in shown)
    return f"{curve}\n{values}: rate (epoch)"


def numbers(values: tuple[float, ...]) -> str:
    return " ".join(f"{value:.4g}" for value in values)
