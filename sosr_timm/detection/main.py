"""A detection run from its command line to its results: plan, build, resume, train, evaluate."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from sosr_timm.checkpoints.run_folder import RunFolder
from sosr_timm.checkpoints.run_selection import RunSelection, selected_run
from sosr_timm.detection.build import build_detection, name_of
from sosr_timm.detection.evaluation import evaluate_run
from sosr_timm.detection.picture import draw_detections_of
from sosr_timm.detection.run import DetectionRun
from sosr_timm.detection.summary import announce, describe, facts_of, next_commands, result_of
from sosr_timm.distributed.determinism import set_backends
from sosr_timm.distributed.processes import Processes, start_processes
from sosr_timm.errors import UserError
from sosr_timm.files import must_write
from sosr_timm.options.detection import DetectionOptions
from sosr_timm.options.load import Loaded, flatten
from sosr_timm.text import counted
from sosr_timm.tracking.console import logger, show_facts, show_log, show_notes
from sosr_timm.tracking.trackers import check_trackers, start_trackers, trackers_of
from sosr_timm.training.advice import advising
from sosr_timm.training.checkpointing import restore
from sosr_timm.training.dry_run import show_updates
from sosr_timm.training.loop import train
from sosr_timm.training.summary import finish


def run_detection(loaded: Loaded[DetectionOptions]) -> int:
    """Train or evaluate as the options say.

    Returns:
        the exit code: 0, or `--exit-code-on-signal` where a signal ended the run early.

    Raises:
        UserError: anything that the person who started the run can fix.
    """
    run, model = loaded.options.run, loaded.options.model
    set_backends(run.deterministic)
    processes = start_processes(
        amp=model.amp,
        amp_dtype=model.amp_dtype,
        broadcast_buffers=not model.no_ddp_bb,
        expected=run.num_processes,
        device=run.device,
    )
    show_log(processes.is_main, to_stderr=bool(run.evaluate))
    show_notes(loaded.notes)
    check_trackers(trackers_of(run))
    if run.evaluate:
        return evaluate_run(loaded, processes)
    if run.coco_metrics:
        raise UserError("--coco-metrics is for --evaluate RUN_FOLDER")
    if run.dry_run:
        return dry_run(loaded, processes)
    with selected_run(loaded, processes, name_of) as (selection, options):
        show_notes(selection.notes)
        if selection.finished:
            done = f"{selection.finished} of {counted(selection.finished, 'epoch')}"
            logger.info("%s: already finished (%s); nothing to do", selection.folder, done)
            return 0
        return train_in(RunFolder(Path(selection.folder)), selection, options, loaded, processes)


def train_in(
    folder: RunFolder,
    selection: RunSelection,
    options: DetectionOptions,
    loaded: Loaded[DetectionOptions],
    processes: Processes,
) -> int:
    """Train in a folder that no other process trains in; returns the exit code."""
    checkpoint = selection.checkpoint
    try:
        about = folder.read_about()[1] if checkpoint else None
        run = build_detection(options, processes, folder, about)
        if checkpoint is None:
            processes.on_main(lambda: start_folder(run, flatten(options), describe(run, loaded)))
    except BaseException:
        if checkpoint is None and processes.is_main:
            folder.remove_unstarted()
        raise
    if checkpoint is not None:
        show_notes(restore(run, Path(checkpoint), options.run.no_resume_opt))
    with must_write(f"run folder {folder.path}"):
        start_trackers(processes.accelerator, options.run, folder, flatten(options), run.step)
    announce(run, checkpoint)
    with advising(run):
        signal_number = train(run)
    processes.accelerator.end_training()
    if not signal_number and run.progress.epoch == run.epochs:
        draw_detections_of(run, run.model)
    return finish(run, signal_number, result_of, next_commands)


def start_folder(run: DetectionRun, options: dict[str, Any], about: dict[str, Any]) -> None:
    """Write what a new run's folder holds before the first update.

    Raises:
        UserError: it cannot be written.
    """
    with must_write(f"run folder {run.folder.path}"):
        run.metrics_log.cut({})
        run.folder.checkpoints.mkdir(exist_ok=True)
    run.folder.write_about(options, about)


def dry_run(loaded: Loaded[DetectionOptions], processes: Processes) -> int:
    """Print the plan of a run, make two updates and evaluate one batch, with nothing written.

    Returns:
        the exit code, 0.

    Raises:
        UserError: whatever would end the run at its start; --resume.
    """
    options = loaded.options
    if options.run.resume:
        raise UserError("--dry-run plans a new run: leave --resume out")
    run = build_detection(options, processes, RunFolder(Path(options.run.output)))
    show_facts(facts_of(run), "plan")
    return show_updates(run)
