"""What a run is going to do, in words: data, network, loss, updates, the course of the learning rate."""

from __future__ import annotations

import math

from sosr_timm.data.loaders.device_loader import DeviceEvaluationLoader, DeviceTrainingBatches
from sosr_timm.setup.loss import origin_of_smoothing
from sosr_timm.training.run import Run

BARS = "▁▂▃▄▅▆▇█"
WIDTH = 60
PRECISIONS = {"no": "float32", "fp16": "float16", "bf16": "bfloat16"}


def plan_of(run: Run) -> dict[str, str]:
    """Title -> text of what a run is made of."""
    return {**_what_is_seen(run), **_what_is_trained(run), **_how_long(run)}


def _what_is_seen(run: Run) -> dict[str, str]:
    data, form = run.options.data, run.image_format
    return {
        "data": f"{data.dataset or 'folder'} {data.data or data.data_dir or ''}".strip(),
        "images": f"{run.order.num_samples:,} for training, {run.evaluation.num_samples:,} for evaluation",
        "classes": f"{run.model.num_classes:,}",
        "input": f"{form.channels} x {form.height} x {form.width} (channels x height x width), {form.interpolation}, "
        f"mean {numbers(form.mean)}, std {numbers(form.std)}",
        "batches": f"made {makers_of(run)}",
    }


def makers_of(run: Run) -> str:
    """Who makes the batches: of training, and of evaluation where that is somebody else."""
    workers = f"by {counted(run.options.data.workers, 'loader process', 'loader processes')}"
    training = "on the device" if isinstance(run.training, DeviceTrainingBatches) else workers
    evaluation = "on the device" if isinstance(run.evaluation_loader, DeviceEvaluationLoader) else workers
    return training if training == evaluation else f"{training}, those of evaluation {evaluation}"


def _what_is_trained(run: Run) -> dict[str, str]:
    parameters = list(run.model.parameters())
    total = sum(parameter.numel() for parameter in parameters)
    trained = sum(parameter.numel() for parameter in parameters if parameter.requires_grad)
    frozen = "" if trained == total else f", {trained:,} of them trained"
    groups = run.optimizer.param_groups
    decays = ", ".join(sorted({f"{group['weight_decay']:g}" for group in groups}))
    return {
        "model": f"{run.options.model.model}, {total:,} parameters{frozen}",
        "loss": run.loss.full_form,
        "smoothing": f"{run.loss.smoothing:g}: {origin_of_smoothing(run.options.loss, run.options.task)}",
        "optimizer": f"{type(run.optimizer.optimizer).__name__}, {counted(len(groups), 'group', 'groups')} of "
        f"parameters, weight decay {decays}",
    }


def _how_long(run: Run) -> dict[str, str]:
    processes, options = run.processes, run.options.optimizer
    samples = run.order.global_batch * options.grad_accum_steps
    precision = PRECISIONS[processes.accelerator.mixed_precision]
    return {
        "update": f"{samples:,} samples: {options.batch_size} x {processes.count} x {options.grad_accum_steps} "
        "(samples x processes x batches)",
        "length": f"{run.epochs:,} epochs of {run.updates_per_epoch:,} updates: {run.epochs * run.updates_per_epoch:,}",
        "learning rate": learning_rates(run),
        "device": f"{processes.device}, {counted(processes.count, 'process', 'processes')}, {precision}",
    }


def rates_of(run: Run) -> list[float]:
    """The learning rate at the start of each epoch (mean over parameter groups); the schedule is left at its start."""
    rates = []
    for epoch in range(run.epochs):
        run.schedule.set(epoch, 0)
        rates.append(run.lr)
    run.schedule.set(0, 0)
    return rates


def learning_rates(run: Run) -> str:
    """The learning rate's course: a curve of a line, and its value where an epoch starts."""
    rates = rates_of(run)
    columns = [rates[position * len(rates) // WIDTH] for position in range(WIDTH)] if len(rates) > WIDTH else rates
    highest = max(max(rates), math.ulp(0.0))
    curve = "".join(BARS[round(rate / highest * (len(BARS) - 1))] for rate in columns)
    shown = sorted({0, *(position * (len(rates) - 1) // 6 for position in range(7)), rates.index(max(rates))})
    values = ", ".join(f"{rates[epoch]:.3g} ({epoch + 1})" for epoch in shown)
    return f"{curve}\n{values}: rate (epoch)"


def numbers(values: tuple[float, ...]) -> str:
    return " ".join(f"{value:.4g}" for value in values)


def counted(number: int, one: str, many: str) -> str:
    return f"{number:,} {one if number == 1 else many}"
