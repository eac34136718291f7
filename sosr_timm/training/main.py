"""A training run from its command line to its results: plan, build, resume, train, write down."""

from __future__ import annotations

from contextlib import nullcontext
from pathlib import Path

from sosr_timm.checkpoints.run_folder import LOCK, RunFolder
from sosr_timm.checkpoints.run_selection import RunSelection, select_run
from sosr_timm.distributed.determinism import set_backends
from sosr_timm.distributed.processes import Processes, start_processes
from sosr_timm.errors import UserError
from sosr_timm.options.load import Loaded, flatten
from sosr_timm.options.train import TrainOptions
from sosr_timm.setup.datasets import check_held_out
from sosr_timm.setup.training_labels import check_training_labels, store_training_labels
from sosr_timm.tracking.console import show_log, show_notes
from sosr_timm.tracking.trackers import check_trackers, start_trackers, trackers_of
from sosr_timm.training.advice import advising
from sosr_timm.training.build import build_run
from sosr_timm.training.checkpointing import restore, save
from sosr_timm.training.dry_run import dry_run
from sosr_timm.training.foreign import continue_from
from sosr_timm.training.loop import train
from sosr_timm.training.notes import notes_of
from sosr_timm.training.summary import announce, describe, finish


def run_training(loaded: Loaded[TrainOptions]) -> int:
    """Train as the options say.

    Returns:
        the exit code: 0, or `--exit-code-on-signal` where a signal ended the run early.

    Raises:
        UserError: anything that whoever started the run can mend.
    """
    model = loaded.options.model
    set_backends(loaded.options.run.deterministic)
    processes = start_processes(
        amp=model.amp,
        amp_dtype=model.amp_dtype,
        broadcast_buffers=not model.no_ddp_bb,
        expected=loaded.options.run.num_processes,
        device=loaded.options.run.device,
    )
    show_log(processes.is_main)
    show_notes(loaded.notes)
    check_trackers(trackers_of(loaded.options.run))
    if loaded.options.run.dry_run:
        return dry_run(loaded, processes)
    plan, options = select_run(loaded, processes)
    show_notes(plan.notes)
    folder = RunFolder(Path(plan.folder))
    with folder.lock() if processes.is_main else nullcontext():
        return train_in(folder, plan, options, loaded, processes)


def train_in(
    folder: RunFolder, plan: RunSelection, options: TrainOptions, loaded: Loaded[TrainOptions], processes: Processes
) -> int:
    """Train in a folder that is ours; returns the exit code."""
    try:
        run = build_run(options, processes, folder, resumed=plan.checkpoint is not None)
        notes = continue_from(run, Path(plan.foreign)) if plan.foreign else []
    except BaseException:
        if plan.checkpoint is None and processes.is_main:
            remove_unstarted_run(folder)
        raise
    if plan.checkpoint is None:
        if processes.is_main:
            run.metrics_log.cut({})
            folder.checkpoints.mkdir(exist_ok=True)
            store_training_labels(folder, run.training.source)
            folder.write_about(flatten(options), describe(run, loaded))
        show_notes(notes)
        if plan.foreign:
            save(run)  # from here on the run is one of its own, which --resume auto continues
    else:
        check_training_labels(folder, run.training.source)
        change = check_held_out(folder.read_about()[1], run.training.source)
        if change:
            raise UserError(f"cannot resume {folder.path}: {change}")
        show_notes(restore(run, Path(plan.checkpoint), options.run.no_resume_opt))
    start_trackers(processes.accelerator, options.run, folder, flatten(options), run.step)
    show_notes(notes_of(run))
    announce(run, plan.checkpoint)
    with advising(run):
        signal_number = train(run)
    processes.accelerator.end_training()
    return finish(run, signal_number)


def remove_unstarted_run(folder: RunFolder) -> None:
    """Take back a folder that no run came to live in."""
    if folder.is_run:
        return
    (folder.path / LOCK).unlink(missing_ok=True)
    for path in (folder.checkpoints, folder.path):
        try:
            path.rmdir()
        except OSError:
            return  # something else lies in it, which is not ours to take
