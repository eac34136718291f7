"""A training run from its command line to its results: plan, build, resume, train, write down."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

from sosr_timm.checkpoints.run_folder import RunFolder
from sosr_timm.checkpoints.run_selection import RunSelection, selected_run
from sosr_timm.distributed.determinism import set_backends
from sosr_timm.distributed.processes import Processes, start_processes
from sosr_timm.errors import UserError
from sosr_timm.files import must_write
from sosr_timm.options.load import Loaded, flatten
from sosr_timm.options.train import TrainOptions
from sosr_timm.setup.datasets import check_held_out
from sosr_timm.setup.training_labels import check_training_labels, store_training_labels
from sosr_timm.text import counted
from sosr_timm.tracking.console import logger, show_log, show_notes
from sosr_timm.tracking.trackers import check_trackers, start_trackers, trackers_of
from sosr_timm.training.advice import advising
from sosr_timm.training.build import build_run
from sosr_timm.training.checkpointing import restore, save
from sosr_timm.training.confidence_pass import start_recording
from sosr_timm.training.dry_run import dry_run
from sosr_timm.training.foreign import continue_from
from sosr_timm.training.loop import train
from sosr_timm.training.notes import notes_of
from sosr_timm.training.run import Run
from sosr_timm.training.summary import announce, describe, finish


def run_training(loaded: Loaded[TrainOptions], then: Callable[[Processes], None] | None = None) -> int:
    """Train as the options say.

    Args:
        loaded: the options, with what was given.
        then: called by every process once the run is complete, while they still are a group.

    Returns:
        the exit code: 0, or `--exit-code-on-signal` where a signal ended the run early.

    Raises:
        UserError: anything that the person who started the run can fix.
    """
    model = loaded.options.model
    set_backends(loaded.options.run.deterministic)
    processes = start_processes(
        amp=model.amp,
        amp_dtype=model.amp_dtype,
        broadcast_buffers=not model.no_ddp_bb,
        expected=loaded.options.run.num_processes,
        device=loaded.options.run.device,
        timeout=loaded.options.run.process_timeout,
    )
    show_log(processes.is_main)
    show_notes(loaded.notes)
    check_trackers(trackers_of(loaded.options.run))
    if loaded.options.run.dry_run:
        return dry_run(loaded, processes)
    with selected_run(loaded, processes) as (selection, options):
        show_notes(selection.notes)
        if selection.finished:
            done = f"{selection.finished} of {counted(selection.finished, 'epoch')}"
            logger.info("%s: already finished (%s); nothing to do", selection.folder, done)
            return 0
        return train_in(RunFolder(Path(selection.folder)), selection, options, loaded, processes, then)


def train_in(
    folder: RunFolder,
    selection: RunSelection,
    options: TrainOptions,
    loaded: Loaded[TrainOptions],
    processes: Processes,
    then: Callable[[Processes], None] | None = None,
) -> int:
    """Train in a folder that no other process trains in; returns the exit code."""
    checkpoint = selection.checkpoint
    try:
        run = build_run(options, processes, folder, resumed=checkpoint is not None)
        notes = continue_from(run, Path(selection.foreign)) if selection.foreign else []
        if checkpoint is None:
            processes.on_main(lambda: start_folder(run, flatten(options), describe(run, loaded)))
    except BaseException:
        if checkpoint is None and processes.is_main:
            folder.remove_unstarted()
        raise
    if checkpoint is None:
        show_notes(notes)
        if selection.foreign:
            save(run)  # from here on the run is one of its own, which --resume auto continues
    else:
        check_training_labels(folder, run.training.source)
        change = check_held_out(folder.read_about()[1], run.training.source)
        if change:
            raise UserError(f"cannot resume {folder.path}: {change}")
        show_notes(restore(run, Path(checkpoint), options.run.no_resume_opt))
    with must_write(f"run folder {folder.path}"):
        start_trackers(processes.accelerator, options.run, folder, flatten(options), run.step)
    show_notes(notes_of(run))
    start_recording(run)
    announce(run, checkpoint)
    with advising(run):
        signal_number = train(run)
    for tracker in processes.accelerator.trackers:
        tracker.finish()
    try:
        code = finish(run, signal_number)
    finally:
        # Schedulers take a process that ends long before the others for one that failed.
        processes.wait()
    if then is not None and not signal_number and run.progress.epoch == run.epochs:
        then(processes)
    return code


def start_folder(run: Run, options: dict[str, Any], about: dict[str, Any]) -> None:
    """Write what a new run's folder holds before the first update.

    Raises:
        UserError: it cannot be written.
    """
    folder = run.folder
    with must_write(f"run folder {folder.path}"):
        run.metrics_log.cut({})
        folder.checkpoints.mkdir(exist_ok=True)
    store_training_labels(folder, run.training.source)
    folder.write_about(options, about)
