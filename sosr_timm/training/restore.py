"""How a run takes up what a checkpoint holds."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from safetensors.torch import load_file

from sosr_timm.checkpoints.format import (
    EMA,
    MODEL,
    DamagedCheckpoint,
    read_manifest,
    read_part,
)
from sosr_timm.errors import UserError
from sosr_timm.training.run import Progress, Run
from sosr_timm.training.save import threads_of


def restore(run: Run, checkpoint: Path, without_optimizer: bool = False) -> list[str]:
    """Take up a run where a checkpoint left it.

    Args:
        run: in its initial state.
        checkpoint: of it.
        without_optimizer: --no-resume-opt: optimizer and loss scaler start anew.

    Returns:
        what the user should know: another number of processes or of threads.

    Raises:
        UserError: the checkpoint is damaged or belongs to another network, or the global batch differs.
    """
    try:
        read_manifest(checkpoint)
        shared = read_part(checkpoint, "run")
        ranks = [read_part(checkpoint, f"rank{rank}") for rank in range(shared["processes"])]
    except DamagedCheckpoint as error:
        raise UserError(f"damaged checkpoint: {error}") from None
    notes = _check_processes(run, shared) or _check_threads(run, shared)
    try:
        run.model.load_state_dict(load_file(str(checkpoint / MODEL)))
        if run.ema is not None:
            run.ema.load_state_dict(load_file(str(checkpoint / EMA)))
        run.task.load_task_state(shared["task"]["weights"])
        run.task.load_task_state(shared["task"]["average"], ema=True)
        if not without_optimizer:
            run.optimizer.load_state_dict(shared["optimizer"])
            if shared["scaler"] is not None and run.processes.accelerator.scaler is not None:
                run.processes.accelerator.scaler.load_state_dict(shared["scaler"])
        run.schedule.load_state_dict(shared["schedule"])
        _restore_rank(run, ranks)
    except (RuntimeError, ValueError, KeyError, OSError) as error:
        raise UserError(f"{checkpoint} does not fit this run ({' '.join(str(error).split())[:300]})") from None
    run.progress = Progress(**shared["progress"])
    if run.processes.is_main:
        run.journal.cut(shared["journal"])
    return notes


def _check_processes(run: Run, shared: dict[str, Any]) -> list[str]:
    now = run.order.global_batch * run.options.optimizer.grad_accum_steps
    if shared["global_batch"] != now:
        raise UserError(
            f"the run has {shared['global_batch']} samples per update, {run.processes.count} processes make {now}: "
            f"start {shared['processes']} processes, or set --batch-size and --grad-accum-steps to make as many"
        )
    batches = list(run.order.sizes.sizes)
    if len(batches) > 1 and shared.get("batches", batches) != batches:
        raise UserError(
            f"the run has batches of {shared['batches']} samples over all processes, now they would have {batches}: "
            f"set --train-batch-sizes so that {run.processes.count} processes make as many"
        )
    if shared["updates_per_epoch"] != run.updates_per_epoch:
        raise UserError(
            f"the run has {shared['updates_per_epoch']} updates per epoch, with this --batch-size it would have "
            f"{run.updates_per_epoch}: the last batches divide otherwise; keep --batch-size and the processes"
        )
    batch_size = run.options.optimizer.batch_size
    if (shared["processes"], shared["batch_size"]) == (run.processes.count, batch_size):
        return []
    return [
        f"going on with {run.processes.count} processes of {batch_size} samples instead of {shared['processes']} of "
        f"{shared['batch_size']}: the same samples in the same steps at the same learning rate, but batch norm and "
        "mixing see other batches, so figures will not be bit-identical"
    ]


def _check_threads(run: Run, shared: dict[str, Any]) -> list[str]:
    then, now = shared.get("threads"), threads_of(run)
    if None in (then, now) or then == now:
        return []
    return [
        f"computing with {now} threads instead of {then}: sums are rounded in another order, so figures may differ in "
        f"the last digits; OMP_NUM_THREADS={then} gives the same ones"
    ]


def _restore_rank(run: Run, ranks: list[dict[str, Any]]) -> None:
    rank, same = run.processes.rank, len(ranks) == run.processes.count
    mine = ranks[rank] if same else ranks[0]
    loss, meters = mine["loss"], mine["meters"]
    if not same:
        # What is summed over the processes at the end of the epoch is carried by the first one alone.
        share = 1.0 if rank == 0 else 0.0
        loss = loss | {name: share * sum(other["loss"][name] for other in ranks) for name in run.loss.additive_state}
        meters = meters | {"interval": share * sum(other["meters"]["interval"] for other in ranks)}
    names = mine["unreadable"] if same else [name for other in ranks for name in other["unreadable"]]
    run.guard.unreadable = names if same or rank == 0 else []
    run.loss.load_state_dict(loss)
    run.meters.load_state_dict(meters)
    if same and "buffers" in mine:
        buffers = dict(run.model.named_buffers())
        for name, value in mine["buffers"].items():
            buffers[name].copy_(value)
