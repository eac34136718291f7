"""--dry-run: what a training run would do, and two real updates of it, with nothing written."""

from __future__ import annotations

import time
from pathlib import Path

from sosr_timm.checkpoints.run_folder import RunFolder
from sosr_timm.distributed.processes import Processes
from sosr_timm.errors import UserError
from sosr_timm.options.load import Loaded
from sosr_timm.options.train import TrainOptions
from sosr_timm.text import counted, duration, rate
from sosr_timm.tracking.console import logger, show_facts
from sosr_timm.training.advice import advising, divided_batch
from sosr_timm.training.build import build_run
from sosr_timm.training.loop import train_update
from sosr_timm.training.memory import (
    Estimate,
    Saved,
    available_memory,
    count_saved,
    estimate_memory,
    memory_of,
    peak_on_device,
)
from sosr_timm.training.plan import facts_of, learning_rates
from sosr_timm.training.run import Run

UPDATES = 2


def dry_run(loaded: Loaded[TrainOptions], processes: Processes) -> int:
    """Print the plan of a run, make two updates and evaluate one batch.

    Returns:
        the exit code, 0.

    Raises:
        UserError: whatever would end the run at its start; updates that cannot fit in memory; --resume.
    """
    options = loaded.options
    if options.run.resume:
        raise UserError("--dry-run plans a new run: leave --resume out")
    run = build_run(options, processes, RunFolder(Path(options.run.output)))
    show_facts({**facts_of(run), "learning rate": learning_rates(run)}, "plan")
    with advising(run):
        check_memory(run, estimate_memory(run))
    return show_updates(run)


def show_updates(run: Run) -> int:
    """Make two updates, and print what they took; returns the exit code, 0."""
    with advising(run):
        saved, seconds, losses = try_updates(run)
    rows = table_of(memory_of(run, saved))
    peak = peak_on_device(run.processes.device)
    if peak is not None:
        rows["peak on the device"] = megabytes(peak)
    show_facts(rows, "memory of one process, measured")
    show_facts(timing_of(run, seconds, losses), counted(UPDATES, "update"))
    logger.info("dry run: nothing was written")
    return 0


def check_memory(run: Run, estimate: Estimate) -> None:
    """Print how much memory the updates will need, and end where they cannot fit.

    Raises:
        UserError: they need more than is available, with a batch size that fits.
    """
    options, available = run.options.optimizer, available_memory(run.processes.device)
    rows = table_of(estimate.rows())
    if available is not None:
        rows["available"] = f"{megabytes(available)}; {megabytes(estimate.needed())} more are needed, reserve included"
    show_facts(rows, f"memory of one process at --batch-size {options.batch_size}, estimated")
    lacking = available is not None and estimate.needed() > available
    if not run.processes.maximum([int(lacking)])[0]:
        return
    # What the process with the least memory has room for.
    views = max(1, run.options.augmentation.aug_splits)
    fits = -run.processes.maximum([-(estimate.batch_that_fits(available or 0) // views)])[0]
    needs = f"two updates need about {megabytes(estimate.needed())}, {megabytes(available or 0)} are available"
    smaller = divided_batch(options.batch_size, options.grad_accum_steps, run.training.mixing is not None, fits)
    if smaller is None:
        raise UserError(f"{needs}: no batch fits; try --grad-checkpointing, --amp or a smaller --img-size")
    batch_size, accumulation = smaller
    raise UserError(
        f"{needs}: --batch-size {batch_size} --grad-accum-steps {accumulation} fit, with the same global batch"
    )


def table_of(sizes: dict[str, int]) -> dict[str, str]:
    """Sizes in words, and their sum."""
    return {name: megabytes(size) for name, size in sizes.items()} | {"together": megabytes(sum(sizes.values()))}


def try_updates(run: Run) -> tuple[Saved, list[float], list[float]]:
    """Two real updates and an evaluation of a batch.

    Returns:
        what the first forward pass saved, seconds of each update, the mean loss of each.
    """
    run.loss.set_progress(0.0)
    run.task.train()
    batches, seconds, losses = run.batches(), [], []
    saved = Saved()
    for _ in range(min(UPDATES, run.updates_per_epoch)):
        started = time.perf_counter()
        run.schedule.set(0, run.progress.update)
        if run.progress.update == 0:
            with count_saved([*run.model.parameters(), *run.model.buffers()]) as saved:
                train_update(run, batches)
        else:
            train_update(run, batches)
        run.progress.update += 1
        means = run.meters.read_interval(run.processes.sum, run.processes.count)
        run.guard.check(run.step, run.lr, means)
        losses.append(means["loss"])
        seconds.append(time.perf_counter() - started)
    if run.evaluation is not None:
        one_batch = iter([False])
        run.evaluate(run.model, stop=lambda: next(one_batch, True))
    return saved, seconds, losses


def timing_of(run: Run, seconds: list[float], losses: list[float]) -> dict[str, str]:
    """Loss, seconds and speed of the updates, and the time that the run will take at that speed."""
    samples = run.order.global_batch * run.batches_of(0)
    total = seconds[-1] * run.updates_per_epoch * run.epochs
    return {
        "loss": ", ".join(f"{value:.4g}" for value in losses),
        "seconds": ", ".join(f"{value:.3g}" for value in seconds) + " (the first one warms up)",
        "speed": f"{rate(samples / seconds[-1], 'image')} in the last one: {duration(total)} of training",
    }


def megabytes(size: int) -> str:
    return f"{size / 1e6:,.1f} MB"
