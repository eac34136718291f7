"""The training loop: an epoch is updates, then an evaluation, then a checkpoint."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import nullcontext

import torch
from timm.utils import dispatch_clip_grad

from sosr_timm.data.loaders.batch import Batch
from sosr_timm.data.order.seeding import STEP, seed_everything
from sosr_timm.training.advice import hint_about_data
from sosr_timm.training.checkpointing import save
from sosr_timm.training.epoch_end import finish_epoch
from sosr_timm.training.evaluate import to_device
from sosr_timm.training.run import Run


def train(run: Run) -> int:
    """Train from the run's current position to its last epoch, or until a signal asks to stop.

    Returns:
        0, or the signal that ended the run early.
    """
    batches = run.batches()
    with run.stop_signals:
        while run.progress.epoch < run.stop_epoch:
            signal_number = train_epoch(run, batches) or finish_epoch(run)
            if signal_number:
                return signal_number
    return 0


def train_epoch(run: Run, batches: Iterator[Batch]) -> int:
    """The updates of an epoch that are still to do; returns the signal that ended them early, or 0."""
    progress = run.progress
    run.loss.set_progress(progress.epoch / max(1, run.epochs - 1))
    run.task.train()
    run.console.start_epoch(progress.epoch, run.updates_per_epoch, progress.update)
    run.stopwatch.read()
    while progress.update < run.updates_per_epoch:
        run.schedule.set(progress.epoch, progress.update)
        train_update(run, batches)
        progress.update += 1
        run.console.advance()
        if progress.update % run.options.run.log_interval == 0 or progress.update == run.updates_per_epoch:
            log_interval(run)
        signal_number, due = run.stop_signals.after_update()
        if signal_number or (due and progress.update < run.updates_per_epoch):
            run.guard.check(run.step, run.lr)
            save(run)
        if signal_number:
            return signal_number
    run.console.end_epoch()
    return 0


def train_update(run: Run, batches: Iterator[Batch]) -> None:
    """One optimizer step: the mean gradient over the samples of its batches, however many batches they come in."""
    count = run.batches_of(run.progress.update)
    run.guard.before_update(run.state_of_forward())
    for position in range(count):
        with run.stopwatch.waiting():
            batch = run.guard.readable(next(batches))
            images = to_device(batch.images, run.processes.device, run.options.model.channels_last, run.dtype)
            target = batch.target.to(run.processes.device, non_blocking=True)
        run.saved_images.look(images)
        # Dropout and drop path depend on the position only, so nothing has to be stored for a resume.
        seed_everything(run.options.run.seed, STEP, run.progress.epoch, batch.position, run.processes.rank)
        with run.task.no_sync() if position < count - 1 else nullcontext():
            result = run.task(images, target)
            run.confidence.watch(batch, result, target)
            run.features.watch(batch)
            run.processes.accelerator.backward(result["loss"] * run.loss_scale(batch) / count)
        parts = run.parts(result)
        run.meters.add(result["loss"], parts)
        run.guard.watch(run.step + 1, result["loss"], parts)
    if run.guard.undo_bad_update(run.trained.parameters(), run.processes.accelerator.scaler is not None):
        run.meters.forget_last(count)
        run.console.say(f"{run.guard.describe(run.step + 1, run.lr)}: update skipped, {run.guard.skipped} so far")
    else:
        clip_gradients(run)
        run.optimizer.step()
        run.task.update_ema(step=run.step + 1)
    run.optimizer.zero_grad()
    if run.options.run.synchronize_step:
        wait_for_device(run.processes.device)


def wait_for_device(device: torch.device) -> None:
    """Return when the device has done what it was given; the CPU always has."""
    if device.type != "cpu":
        torch.accelerator.synchronize()


def clip_gradients(run: Run) -> None:
    """--clip-grad, with timm's modes."""
    options = run.options.optimizer
    if options.clip_grad is None:
        return
    run.processes.accelerator.unscale_gradients()
    parameters = run.task.get_clip_parameters(exclude_head="agc" in options.clip_mode)
    dispatch_clip_grad(parameters, value=options.clip_grad, mode=options.clip_mode)


def log_interval(run: Run) -> None:
    """One line for the console, the metrics log and the trackers; the only wait for the device in an interval."""
    batches = run.meters.interval_count
    means = run.meters.read_interval(run.processes.sum, run.processes.count)
    run.guard.check(run.step, run.lr, means)
    seconds, waited = run.stopwatch.read()
    run.progress.seconds += seconds
    unreadable = run.guard.count_unreadable()
    hint_about_data(run, seconds, waited)
    timing = {
        "images_per_second": run.samples_of_last(batches) / max(seconds, 1e-9),
        "data_wait": waited / max(seconds, 1e-9),
        "seconds": run.progress.seconds,
    }
    problem = run.saved_images.save(run.step)
    if problem:
        run.console.say(problem)
    progress = run.progress
    run.console.interval(progress.epoch, progress.update, run.updates_per_epoch, means, timing, run.lr)
    if run.processes.is_main:
        record = {"kind": "train", "step": run.step, "epoch": progress.epoch, "lr": run.lr, **means}
        run.metrics_log.line({**record, "unreadable": unreadable, "timing": timing})
    values = {f"train/{name}": value for name, value in means.items()} | {
        "lr": run.lr,
        "unreadable": unreadable,
        **timing,
    }
    run.processes.accelerator.log(values, step=run.step)
