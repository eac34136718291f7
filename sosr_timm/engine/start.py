"""A training run from its command line to its results: plan, build, resume, train, write down."""

from __future__ import annotations

from contextlib import nullcontext
from pathlib import Path

import torch

from sosr_timm.data.order import TrainingOrder
from sosr_timm.engine.account import announce, describe, finish
from sosr_timm.engine.build import build_run
from sosr_timm.engine.folder import LOCK, RunFolder
from sosr_timm.engine.launch import Processes, start_processes
from sosr_timm.engine.log import check_trackers, logger, show_log, start_trackers
from sosr_timm.engine.loop import train
from sosr_timm.engine.restore import restore
from sosr_timm.engine.resume import Plan, plan_run
from sosr_timm.engine.run import Run
from sosr_timm.errors import UserError
from sosr_timm.options.load import Loaded, flatten
from sosr_timm.options.train import TrainOptions


def run_training(loaded: Loaded[TrainOptions]) -> int:
    """Train as the options say.

    Returns:
        the exit code: 0, or `--exit-code-on-signal` where a signal ended the run early.

    Raises:
        UserError: anything that whoever started the run can mend.
    """
    model = loaded.options.model
    processes = start_processes(
        amp=model.amp,
        amp_dtype=model.amp_dtype,
        broadcast_buffers=not model.no_ddp_bb,
        expected=loaded.options.run.num_processes,
    )
    show_log(processes.is_main)
    check_trackers(loaded.options.run.log_with)
    plan, options = plan_run(loaded, processes)
    for note in plan.notes:
        logger.info("%s", note)
    folder = RunFolder(Path(plan.folder))
    with folder.lock() if processes.is_main else nullcontext():
        return train_in(folder, plan, options, loaded, processes)


def train_in(
    folder: RunFolder, plan: Plan, options: TrainOptions, loaded: Loaded[TrainOptions], processes: Processes
) -> int:
    """Train in a folder that is ours; returns the exit code."""
    try:
        run = build_run(options, processes, folder)
    except BaseException:
        if plan.checkpoint is None and processes.is_main:
            discard_unborn(folder)
        raise
    if plan.checkpoint is None:
        if processes.is_main:
            run.journal.cut({})
            folder.checkpoints.mkdir(exist_ok=True)
            folder.write_about(flatten(options), describe(run, loaded))
    else:
        for note in restore(run, Path(plan.checkpoint)):
            logger.info("%s", note)
    start_trackers(processes.accelerator, options.run.log_with, folder, options.run.project, flatten(options), run.step)
    announce(run, plan.checkpoint)
    signal_number = train_within_memory(run)
    processes.accelerator.end_training()
    return finish(run, signal_number)


def train_within_memory(run: Run) -> int:
    """`train`, with advice where memory runs out.

    Raises:
        UserError: out of memory; names a batch size and an accumulation that keep the global batch.
    """
    try:
        return train(run)
    except RuntimeError as error:
        if not isinstance(error, torch.OutOfMemoryError) and "can't allocate memory" not in str(error):
            raise
        options = run.options.optimizer
        pairs = run.training.mixing is not None
        advice = smaller_batch(options.batch_size, options.grad_accum_steps, run.order, pairs)
        raise UserError(f"out of memory at step {run.step + 1}: {advice}", on_one_rank=True) from None


def smaller_batch(batch_size: int, grad_accum_steps: int, order: TrainingOrder, pairs: bool) -> str:
    """What to try where a batch does not fit: the largest proper divisor of it, with the accumulation to match.

    Args:
        batch_size: that did not fit.
        grad_accum_steps: batches per update so far.
        order: of the data.
        pairs: the batch must be even.
    """
    fitting = [n for n in range(batch_size // 2, 0, -1) if batch_size % n == 0 and not (pairs and n % 2)]
    if not fitting:
        return "no smaller batch keeps the global batch; try --grad-checkpointing, --amp or a smaller --img-size"
    accumulation = grad_accum_steps * batch_size // fitting[0]
    updates = -(-order.batches_per_epoch // grad_accum_steps)
    same = updates == -(-(order.num_samples // (fitting[0] * order.world_size)) // accumulation)
    advice = f"--batch-size {fitting[0]} --grad-accum-steps {accumulation} keep the global batch"
    return advice + (
        "; add --resume auto to go on from the last checkpoint" if same else " (from the start of the run)"
    )


def discard_unborn(folder: RunFolder) -> None:
    """Take back a folder that no run came to live in."""
    if folder.is_run:
        return
    (folder.path / LOCK).unlink(missing_ok=True)
    for path in (folder.checkpoints, folder.path):
        try:
            path.rmdir()
        except OSError:
            return  # something else lies in it, which is not ours to take
