"""The training loop: an epoch is updates, then an evaluation, then a checkpoint."""

from __future__ import annotations

import time
from collections.abc import Iterator
from contextlib import nullcontext

from timm.utils import dispatch_clip_grad, distribute_bn
from torch.nn.parallel import DistributedDataParallel

from sosr_timm.data.loaders import Batch
from sosr_timm.data.seeding import STEP, seed_everything
from sosr_timm.engine import snapshot
from sosr_timm.engine.checkpoint import Position
from sosr_timm.engine.evaluate import evaluate, to_device
from sosr_timm.engine.run import METRICS, SMALLER_IS_BETTER, Run


def train(run: Run) -> int:
    """Train from where the run stands to its last epoch, or until a signal asks for an end.

    Returns:
        0, or the signal that ended the run early.
    """
    batches = run.batches()
    with run.requests:
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
    run.console.start_epoch(progress.epoch, run.epochs, run.updates_per_epoch, progress.update)
    run.stopwatch.read()
    while progress.update < run.updates_per_epoch:
        run.schedule.set(progress.epoch, progress.update)
        train_update(run, batches)
        progress.update += 1
        run.console.advance()
        if progress.update % run.options.run.log_interval == 0 or progress.update == run.updates_per_epoch:
            log_interval(run)
        signal_number, due = run.requests.poll()
        if signal_number or (due and progress.update < run.updates_per_epoch):
            run.guard.check(run.step, run.lr)
            snapshot.save(run)
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
            images = to_device(batch.images, run.processes.device, run.options.model.channels_last)
            target = batch.target.to(run.processes.device, non_blocking=True)
        # Dropout and its kin depend on the position alone: on nothing that a stopped run would have to remember.
        seed_everything(run.options.run.seed, STEP, run.progress.epoch, batch.position, run.processes.rank)
        with run.task.no_sync() if position < count - 1 else nullcontext():
            result = run.task(images, target)
            run.processes.accelerator.backward(result["loss"] / count)
        run.meters.add(result["loss"], run.loss.parts)
        run.guard.watch(run.step + 1, result["loss"], run.loss.parts)
    if run.guard.passes(run.model.parameters(), run.processes.accelerator.scaler is not None):
        clip_gradients(run)
        run.optimizer.step()
        run.task.update_ema(step=run.step + 1)
    else:
        run.meters.forget_last(count)
        run.console.say(f"{run.guard.describe(run.step + 1, run.lr)}: update left out, {run.guard.skipped} so far")
    run.optimizer.zero_grad()


def clip_gradients(run: Run) -> None:
    """--clip-grad, with timm's modes."""
    options = run.options.optimizer
    if options.clip_grad is None:
        return
    run.processes.accelerator.unscale_gradients()
    parameters = run.task.get_clip_parameters(exclude_head="agc" in options.clip_mode)
    dispatch_clip_grad(parameters, value=options.clip_grad, mode=options.clip_mode)


def log_interval(run: Run) -> None:
    """One line for the console, the journal and the trackers; the one wait for the device in an interval."""
    batches = run.meters.interval_count
    means = run.meters.read_interval(run.processes.sum, run.processes.count)
    run.guard.check(run.step, run.lr, means)
    seconds, waited = run.stopwatch.read()
    run.progress.seconds += seconds
    unreadable = run.guard.count_unreadable()
    timing = {
        "images_per_second": batches * run.order.global_batch / max(seconds, 1e-9),
        "data_wait": waited / max(seconds, 1e-9),
        "seconds": run.progress.seconds,
    }
    progress = run.progress
    run.console.interval(progress.epoch, progress.update, run.updates_per_epoch, means, timing, run.lr)
    if run.processes.is_main:
        record = {"kind": "train", "step": run.step, "epoch": progress.epoch, "lr": run.lr, **means}
        run.journal.line({**record, "unreadable": unreadable, "timing": timing})
    figures = {f"train/{name}": value for name, value in means.items()} | {
        "lr": run.lr,
        "unreadable": unreadable,
        **timing,
    }
    run.processes.accelerator.log(figures, step=run.step)


def finish_epoch(run: Run) -> int:
    """Evaluate, write the epoch down, save; returns the signal that ended the evaluation early, or 0."""
    progress = run.progress
    if not progress.evaluating:
        agree_on_batch_norm(run)
        progress.evaluating = True
    metrics: dict[str, float] = {}
    epoch = progress.epoch
    if (epoch + 1) % run.options.run.val_interval == 0 or epoch + 1 == run.epochs:
        started = time.perf_counter()
        found = evaluate_all(run)
        if found is None:
            snapshot.save(run)
            return run.requests.poll(0)[0]
        metrics = found
        run.progress.seconds += time.perf_counter() - started
        run.console.say(describe_evaluation(run, metrics))
    run.loss.end_epoch(run.processes.sum if run.processes.count > 1 else None)
    means = run.meters.read_epoch()
    progress.epoch, progress.update, progress.evaluating = epoch + 1, 0, False
    if metrics:
        remember(run, epoch, metrics)
    write_epoch(run, epoch, means, metrics)
    snapshot.save(run)
    return run.requests.poll(0)[0]


def agree_on_batch_norm(run: Run) -> None:
    """Batch norm saw other samples in each process; evaluation wants one answer."""
    if run.processes.count == 1 or not run.options.model.dist_bn:
        return
    for model in filter(None, (run.model, run.ema)):
        distribute_bn(model, run.processes.count, reduce=run.options.model.dist_bn == "reduce")


def evaluate_all(run: Run) -> dict[str, float] | None:
    """Metrics of the weights and, with the suffix _ema, of their average; None where a signal came."""
    models = {"": run.task.get_eval_model()}
    if run.ema is not None and not run.options.model.model_ema_force_cpu:
        models["_ema"] = run.ema
    metrics: dict[str, float] = {}
    for suffix, model in models.items():
        table = evaluate(
            # A wrapped model would broadcast its buffers, for which every process would need as many batches.
            model.module if isinstance(model, DistributedDataParallel) else model,
            run.evaluation_loader,
            run.evaluation,
            run.processes,
            channels_last=run.options.model.channels_last,
            stop=lambda: bool(run.requests.poll(0)[0]),
        )
        if table is None:
            return None
        found = table.compute()
        metrics.update({name + suffix: found[name] for name in METRICS})
    return metrics


def remember(run: Run, epoch: int, metrics: dict[str, float]) -> None:
    """Keep the metrics of the last evaluation, and of the best one: by the average's figure where there is one."""
    name = run.options.run.eval_metric
    value = metrics.get(f"{name}_ema", metrics[name])
    sign = -1 if name in SMALLER_IS_BETTER else 1
    record = {"epoch": epoch, "checkpoint": Position(epoch + 1, 0).folder_name, "value": value, "metrics": metrics}
    run.progress.last = record
    # Written so that a figure which is no number never counts as better.
    if run.progress.best is None or sign * value > sign * run.progress.best["value"]:
        run.progress.best = record


def describe_evaluation(run: Run, metrics: dict[str, float]) -> str:
    """One line with every metric."""
    words = []
    for suffix in ("", "_ema"):
        if f"top1{suffix}" in metrics:
            values = {name: metrics[name + suffix] for name in METRICS}
            title = "evaluation" if not suffix else "average of weights"
            words.append(
                f"{title}: top-1 {values['top1']:.2f} %  top-5 {values['top5']:.2f} %  NLL {values['loss']:.4f}  "
                f"ECE {values['ece']:.4f}  Brier {values['brier']:.4f}"
            )
    return f"epoch {run.progress.epoch + 1}  " + "  ".join(words)


def write_epoch(run: Run, epoch: int, means: dict[str, float], metrics: dict[str, float]) -> None:
    """The epoch's row and line, and the trackers' figures."""
    training = {f"train_{name}": value for name, value in means.items()}
    evaluation = {f"eval_{name}": value for name, value in metrics.items()}
    if run.processes.is_main:
        run.journal.row({"epoch": epoch, **training, **evaluation, "lr": run.lr})
        timing = {"seconds": run.progress.seconds}
        run.journal.line(
            {"kind": "epoch", "step": run.step, "epoch": epoch, **training, **evaluation, "timing": timing}
        )
    if evaluation:
        run.processes.accelerator.log({f"eval/{name}": value for name, value in metrics.items()}, step=run.step)
