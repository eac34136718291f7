"""The end of an epoch: evaluation, the epoch's metrics, a checkpoint."""

from __future__ import annotations

import time

from timm.utils import distribute_bn

from sosr_timm.checkpoints.format import Position
from sosr_timm.metrics.shots import GROUP_METRICS
from sosr_timm.metrics.titles import LOWER_IS_BETTER
from sosr_timm.setup.metric_names import TRAIN_LOSS, in_columns
from sosr_timm.training.checkpointing import save
from sosr_timm.training.confidence_pass import clean_pass
from sosr_timm.training.feature_files import write_features
from sosr_timm.training.run import Run


def finish_epoch(run: Run) -> int:
    """Evaluate, log the epoch, save; returns the signal that ended the evaluation early, or 0."""
    progress = run.progress
    if not progress.evaluating:
        agree_on_batch_norm(run)
        progress.evaluating = True
    metrics: dict[str, float] = {}
    epoch = progress.epoch
    due = (epoch + 1) % run.options.run.val_interval == 0 or epoch + 1 == run.epochs
    if due and run.evaluation is not None:
        started = time.perf_counter()
        found = evaluate_all(run)
        if found is None:
            save(run)
            return run.stop_signals.received()
        metrics = found
        run.progress.seconds += time.perf_counter() - started
    clean = None
    if run.clean_images is not None:
        started = time.perf_counter()
        clean = clean_pass(run, run.model)
        if clean is None:
            save(run)
            return run.stop_signals.received()
        run.progress.seconds += time.perf_counter() - started
    # As timm's: with --sched-on-updates the rate of the update to come.
    run.schedule.set(epoch, run.updates_per_epoch)
    lr = run.lr
    run.loss.end_epoch(run.processes.sum if run.processes.count > 1 else None)
    means = run.meters.read_epoch()
    progress.epoch, progress.update, progress.evaluating = epoch + 1, 0, False
    judged = metrics if run.evaluation is not None else {TRAIN_LOSS: means["loss"]}
    if judged:
        remember(run, epoch, judged)
    run.schedule.start_epoch(epoch + 1, run.value_for_plateau(means, bool(judged)))
    write_epoch(run, epoch, lr, means, metrics)
    if run.confidence.mode:
        values = run.confidence.read_epoch(run.processes.sum, clean)
        if run.processes.is_main:
            run.metrics_log.row({"epoch": epoch, **values}, run.folder.confidence)
    write_features(run, epoch)
    show_epoch(run, epoch, means, metrics)
    save(run)
    return run.stop_signals.received()


def agree_on_batch_norm(run: Run) -> None:
    """Make batch norm, which saw other samples in each process, the same on all of them."""
    if run.processes.count == 1 or not run.options.model.dist_bn:
        return
    for model in filter(None, (run.model, run.ema)):
        distribute_bn(model, run.processes.count, reduce=run.options.model.dist_bn == "reduce")


def evaluate_all(run: Run) -> dict[str, float] | None:
    """Metrics of the weights and, with the suffix _ema, of the EMA; None if a signal came."""
    models = {"": run.task.get_eval_model()}
    if run.ema is not None and not run.options.model.model_ema_force_cpu:
        models["_ema"] = run.ema
    metrics: dict[str, float] = {}
    for suffix, model in models.items():
        found = run.evaluate(model)
        if found is None:
            return None
        metrics.update({name + suffix: found[name] for name in (*run.metrics, *GROUP_METRICS) if name in found})
    return metrics


def remember(run: Run, epoch: int, metrics: dict[str, float]) -> None:
    """Keep the metrics of the last evaluation, and of the best one: by the EMA's value if there is one."""
    name = run.best_metric
    value = metrics.get(f"{name}_ema", metrics[name])
    sign = -1 if name in LOWER_IS_BETTER else 1
    record = {"epoch": epoch, "checkpoint": Position(epoch + 1, 0).folder_name, "value": value, "metrics": metrics}
    run.progress.last = record
    # Written so that NaN never counts as better.
    if run.progress.best is None or sign * value > sign * run.progress.best["value"]:
        run.progress.best = record


def show_epoch(run: Run, epoch: int, means: dict[str, float], metrics: dict[str, float]) -> None:
    """Print the epoch's training loss, the metrics of its evaluation, where there was one, and the time left."""
    shown = {suffix: run.in_words(metrics, suffix) for suffix in ("", "_ema") if run.metrics[0] + suffix in metrics}
    items = [f"train loss {means['loss']:.4f}", *shown.get("", ()), *run.console.time_left(run.step)]
    run.console.epoch(epoch, items, shown.get("_ema", ()))


def write_epoch(run: Run, epoch: int, lr: float, means: dict[str, float], metrics: dict[str, float]) -> None:
    """The epoch's row and line, and the trackers' values."""
    training = {f"train_{name}": value for name, value in means.items()}
    evaluation = {f"eval_{name}": value for name, value in metrics.items()}
    if run.processes.is_main:
        run.metrics_log.row({"epoch": epoch, **training, **in_columns(metrics), "lr": lr})
        timing = {"seconds": run.progress.seconds}
        run.metrics_log.line(
            {"kind": "epoch", "step": run.step, "epoch": epoch, **training, **evaluation, "timing": timing}
        )
    if evaluation:
        run.processes.accelerator.log({f"eval/{name}": value for name, value in metrics.items()}, step=run.step)
