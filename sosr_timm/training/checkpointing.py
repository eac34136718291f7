"""What a checkpoint holds of a run: how it is written, and how a run continues from it."""

from __future__ import annotations

import errno
import math
import shutil
import tempfile
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import torch
from safetensors.torch import load_file
from torch import Tensor

from sosr_timm.checkpoints.format import (
    EMA,
    MODEL,
    DamagedCheckpoint,
    Position,
    checkpoint_folders,
    even_epochs,
    finalize,
    is_epoch_end,
    point,
    read_part,
    write_manifest,
    write_part,
)
from sosr_timm.checkpoints.run_folder import RunFolder
from sosr_timm.checkpoints.serialization import module_state, save_tensors
from sosr_timm.errors import UserError, one_line, reason_of
from sosr_timm.files import must_write, room
from sosr_timm.text import counted
from sosr_timm.training.run import Progress, Run
from sosr_timm.version import __version__

# Share of the time between checkpoints that writing one may take before a line says so.
STALL = 0.05


def save(run: Run) -> Path | None:
    """Write a checkpoint of the run's present state; every process must call it.

    A full disk costs the checkpoint, not the run: what was written is removed again, the last complete checkpoint
    stays, and a line says how much room is missing.

    Returns:
        the checkpoint's folder; None where it could not be written.

    Raises:
        UserError: no checkpoint can be written any more, because the folder is gone or has become read-only.
    """
    started = time.monotonic()
    position = Position(run.progress.epoch, run.progress.update)
    final = run.folder.checkpoints / position.folder_name
    temporary = run.folder.checkpoints / f".unfinished-{position.folder_name}"
    failure = ""
    if run.processes.is_main:
        failure = _failure_of(run, lambda: _make_room(run, temporary))
    if _failed_anywhere(run, failure):
        return _give_up(run, temporary, failure)
    failure = _failure_of(run, lambda: _write(run, temporary))
    if _failed_anywhere(run, failure):
        return _give_up(run, temporary, failure)
    if run.processes.is_main:
        failure = _failure_of(run, lambda: _commit(run, position, temporary, final))
    if _failed_anywhere(run, failure):
        return _give_up(run, temporary, failure)
    share = run.stop_signals.share_of_interval(time.monotonic() - started)
    if share > STALL and position.update:
        run.console.say_once(
            f"writing checkpoints takes {share:.0%} of the time: --checkpoint-every "
            f"{math.ceil((time.monotonic() - started) / STALL)}s would take {STALL:.0%}"
        )
    run.stop_signals.saved_now()
    return final


def _failure_of(run: Run, action: Callable[[], None]) -> str:
    """Do something with files; why the file system refused it, or "" where it did not."""
    try:
        action()
        return ""
    except OSError as error:
        needed = f"a checkpoint takes about {bytes_of_checkpoint(run) / 1e6:,.1f} MB"
        return f"{reason_of(error)} ({needed}, {room(run.folder.path)})"


def _failed_anywhere(run: Run, failure: str) -> bool:
    return bool(run.processes.maximum([int(bool(failure))])[0])


def _make_room(run: Run, temporary: Path) -> None:
    """Create an empty folder to write to; fail where the run folder was removed, which must not come back as a part."""
    shutil.rmtree(temporary, ignore_errors=True)
    run.folder.about.stat()
    run.folder.checkpoints.mkdir(exist_ok=True)
    temporary.mkdir()


def _write(run: Run, temporary: Path) -> None:
    """This process's part of a checkpoint, and on the main process what all share."""
    temporary.mkdir(exist_ok=True)  # of this machine's own disk, which is found out when the checkpoint is committed
    write_part(temporary, f"rank{run.processes.rank}", _rank_state(run))
    if run.processes.is_main:
        _write_shared(run, temporary)


def _commit(run: Run, position: Position, temporary: Path, final: Path) -> None:
    missing = [rank for rank in range(run.processes.count) if not (temporary / f"rank{rank}.json").is_file()]
    if missing:
        raise OSError(f"process {missing[0]} does not write into the same folder: {temporary}")
    write_manifest(temporary, {"epoch": position.epoch, "update": position.update, "version": __version__})
    finalize(temporary, final)
    _link(run, final)
    _trim(run, final)


def _write_shared(run: Run, folder: Path) -> None:
    save_tensors(folder / MODEL, module_state(run.model))
    if run.ema is not None:
        save_tensors(folder / EMA, module_state(run.ema))
    scaler = run.processes.accelerator.scaler
    write_part(
        folder,
        "run",
        {
            "progress": run.progress.state_dict(),
            "optimizer": run.optimizer.state_dict(),
            "schedule": run.schedule.state_dict(),
            "task": {"weights": run.task.get_task_state(), "average": run.task.get_task_state(ema=True)},
            "scaler": scaler.state_dict() if scaler is not None else None,
            "processes": run.processes.count,
            "threads": threads_of(run),
            "updates_per_epoch": run.updates_per_epoch,
            "batch_size": run.options.optimizer.batch_size,
            "global_batch": run.order.global_batch * run.options.optimizer.grad_accum_steps,
            "batches": list(run.order.sizes.sizes),
            "journal": run.metrics_log.sizes(),
        },
    )


def threads_of(run: Run) -> int | None:
    """Threads that a process computes with on the CPU, on which the last digits depend; None elsewhere."""
    return torch.get_num_threads() if run.processes.device.type == "cpu" else None


def _rank_state(run: Run) -> dict[str, Any]:
    """What differs between processes: sums not yet added up, and the buffers of batch norm in model and EMA.

    Batch norm that is broadcast differs too: until the next forward pass, and in the EMA until the end of the epoch.
    """
    state: dict[str, Any] = {
        "meters": run.meters.state_dict(),
        "loss": dict(run.loss.state_dict()),
        "unreadable": run.guard.unreadable,
    }
    if run.confidence.mode:
        state["confidence"] = run.confidence.state_dict()
    if run.features.active:
        state["features"] = run.features.state_dict()
    if run.processes.count > 1:
        state["buffers"] = dict(run.model.named_buffers())
        state["ema_buffers"] = {} if run.ema is None else dict(run.ema.named_buffers())
    return state


def bytes_of_checkpoint(run: Run) -> int:
    """Bytes of the tensors that a checkpoint holds now: the optimizer has its state after the first update."""
    models = [model for model in (run.model, run.ema) if model is not None]
    state = [value for entry in run.optimizer.state.values() for value in entry.values() if isinstance(value, Tensor)]
    of_rank = list(run.loss.state_dict().values())
    if run.processes.count > 1:
        of_rank += [buffer for model in models for buffer in model.buffers()]
    shared = [tensor for model in models for tensor in model.state_dict().values()] + state
    return sum(tensor.nbytes for tensor in shared) + run.processes.count * sum(tensor.nbytes for tensor in of_rank)


def _give_up(run: Run, temporary: Path, failure: str) -> None:
    """Remove what was written of a checkpoint and print why.

    Raises:
        UserError: no later one can be written either.
    """
    if run.processes.is_main:
        shutil.rmtree(temporary, ignore_errors=True)
    lost = lost_place(run.folder)
    if run.processes.maximum([int(bool(lost))])[0]:
        progress = run.progress
        done = f"training ends after {progress.epoch} of {counted(run.epochs, 'epoch')}"
        done += f" and {counted(progress.update, 'update')}" if progress.update else ""
        of_main = run.processes.text_of_main(lost)
        if of_main:
            raise UserError(f"no checkpoint can be written: {of_main}; {done}")
        raise UserError(
            f"no checkpoint can be written: {lost or 'see the line of another process'}; {done}", bool(lost)
        )
    if failure:
        run.console.say(f"checkpoint not written: {failure}; training continues, the last complete checkpoint stays")
    # Try again after another interval rather than at every update.
    run.stop_signals.saved_now()


def lost_place(folder: RunFolder) -> str:
    """Why nothing can ever be written to a run folder again; "" where it can, or where the disk may only be full."""
    try:
        folder.about.stat()
    except (FileNotFoundError, NotADirectoryError):
        return f"{folder.path} is gone"
    except OSError:
        pass
    try:
        with tempfile.TemporaryFile(dir=folder.checkpoints):
            return ""
    except OSError as error:
        lost = error.errno in (errno.EROFS, errno.EACCES, errno.EPERM, errno.ENOTDIR)
        return f"{folder.checkpoints} cannot be written ({reason_of(error)})" if lost else ""


def _link(run: Run, final: Path) -> None:
    point(run.folder.checkpoints / "last", final)
    best = run.progress.best
    if best is not None and (run.folder.checkpoints / best["checkpoint"]).is_dir():
        point(run.folder.checkpoints / "best", run.folder.checkpoints / best["checkpoint"])


def _trim(run: Run, final: Path) -> None:
    """Keep the new checkpoint, the best, the wanted epochs and `--checkpoint-hist` more; drop leftovers.

    Checkpoints within epochs are counted by themselves, so that they never push out one of an epoch's end.
    """
    best = run.progress.best["checkpoint"] if run.progress.best else None
    options = run.options.run
    epochs = {*options.save_epochs, *(epoch for n in options.keep_checkpoints for epoch in even_epochs(n, run.epochs))}
    keep = {final.name, best, *(Position(epoch, 0).folder_name for epoch in epochs)}
    others = [path for path in checkpoint_folders(run.folder.checkpoints) if path.name not in keep]
    count = options.checkpoint_hist
    ends = [path for path in others if is_epoch_end(path)]
    within = [path for path in others if not is_epoch_end(path)]
    for path in (*ends[count:], *within[count:]):
        shutil.rmtree(path, ignore_errors=True)
    for pattern in (".unfinished-*", ".old-*"):
        for path in run.folder.checkpoints.glob(pattern):
            shutil.rmtree(path, ignore_errors=True)


def restore(run: Run, checkpoint: Path, without_optimizer: bool = False) -> list[str]:
    """Put a run into the state of a checkpoint.

    Args:
        run: in its initial state.
        checkpoint: of it, whose files were compared with their hashes when it was selected.
        without_optimizer: --no-resume-opt: optimizer and loss scaler start from scratch.

    Returns:
        what the user should know: another number of processes or of threads.

    Raises:
        UserError: the checkpoint is damaged or belongs to another model, or the global batch differs.
    """
    try:
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
        raise UserError(f"{checkpoint} does not fit this run ({one_line(error)})") from None
    run.progress = Progress(**shared["progress"])
    run.processes.on_main(lambda: _cut_log(run, shared["journal"]))
    return notes


def _cut_log(run: Run, sizes: dict[str, int]) -> None:
    with must_write(f"run folder {run.folder.path}"):
        run.metrics_log.cut(sizes)


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
            f"{run.updates_per_epoch}: the last batches are divided differently; keep --batch-size and the processes"
        )
    batch_size = run.options.optimizer.batch_size
    if (shared["processes"], shared["batch_size"]) == (run.processes.count, batch_size):
        return []
    return [
        f"resuming with {counted(run.processes.count, 'process', 'processes')} of {batch_size} samples instead of "
        f"{shared['processes']} of {shared['batch_size']}: the same samples in the same steps at the same learning "
        "rate, but batch norm and mixing see other batches, so the results will not be bit-identical"
    ]


def _check_threads(run: Run, shared: dict[str, Any]) -> list[str]:
    then, now = shared.get("threads"), threads_of(run)
    if None in (then, now) or then == now:
        return []
    return [
        f"computing with {now} threads instead of {then}: sums are rounded in another order, so results may differ in "
        f"the last digits; OMP_NUM_THREADS={then} gives the same ones"
    ]


def _restore_rank(run: Run, ranks: list[dict[str, Any]]) -> None:
    rank, same = run.processes.rank, len(ranks) == run.processes.count
    mine = ranks[rank] if same else ranks[0]
    loss, meters, confidence = mine["loss"], mine["meters"], mine.get("confidence")
    if not same:
        # The first process carries the sums of all, which are added up at the end of the epoch.
        share = 1.0 if rank == 0 else 0.0
        loss = loss | {name: share * sum(other["loss"][name] for other in ranks) for name in run.loss.additive_state}
        meters = meters | {"interval": share * sum(other["meters"]["interval"] for other in ranks)}
        if confidence:
            confidence = {"sums": share * sum(other["confidence"]["sums"] for other in ranks)}
    names = mine["unreadable"] if same else [name for other in ranks for name in other["unreadable"]]
    run.guard.unreadable = names if same or rank == 0 else []
    run.loss.load_state_dict(loss)
    run.meters.load_state_dict(meters)
    if confidence and run.confidence.mode:
        run.confidence.load_state_dict(confidence)
    if run.features.active and same and "features" in mine:
        run.features.load_state_dict(mine["features"])
    if same:
        for model, key in ((run.model, "buffers"), (run.ema, "ema_buffers")):
            buffers = {} if model is None else dict(model.named_buffers())
            for name, value in mine.get(key, {}).items():
                buffers[name].copy_(value)
