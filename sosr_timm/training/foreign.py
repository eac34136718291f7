"""A run that continues from a checkpoint of timm's train.py or of torchvision's training reference."""

from __future__ import annotations

from pathlib import Path

from sosr_timm.checkpoints.foreign import TIMMS_OPTIONS, read_foreign
from sosr_timm.errors import UserError, one_line
from sosr_timm.text import counted
from sosr_timm.training.run import Run


def continue_from(run: Run, path: Path) -> list[str]:
    """Load weights, EMA, optimizer and epoch into a run in its initial state.

    Args:
        run: with the options given now.
        path: of the checkpoint.

    Returns:
        what was loaded and what could not be.

    Raises:
        UserError: the checkpoint cannot be read, or is of another model, optimizer or length.
    """
    found, options = read_foreign(path), run.options
    scaler = run.processes.accelerator.scaler
    with_optimizer = not options.run.no_resume_opt and found.optimizer is not None
    try:
        run.model.load_state_dict(found.weights)
        if run.ema is not None:
            run.ema.load_state_dict(found.ema or found.weights)
    except (RuntimeError, TypeError, AttributeError) as error:
        raise UserError(f"--resume {path}: not weights of {options.model.model} ({one_line(error)})") from None
    try:
        if with_optimizer:
            run.optimizer.load_state_dict(found.optimizer)
        if with_optimizer and scaler is not None and found.scaler:
            scaler.load_state_dict(found.scaler)
    except (RuntimeError, ValueError, KeyError, TypeError, AttributeError) as error:
        raise UserError(
            f"--resume {path}: its optimizer is not --opt {options.optimizer.opt} of the same parameters "
            f"({one_line(error)}); --no-resume-opt starts a new one"
        ) from None
    start = options.schedule.start_epoch
    run.progress.epoch = found.epoch if start is None else start  # timm's --start-epoch beats the checkpoint too
    if run.progress.epoch >= run.epochs:
        raise UserError(f"--resume {path}: {counted(found.epoch, 'epoch')} done, --epochs and its schedule end there")
    run.schedule.start_epoch(run.progress.epoch, None)
    loaded = ["weights", *(["EMA"] if run.ema is not None and found.ema else []), *(["optimizer"] * with_optimizer)]
    notes = [
        f"continuing from {path} at epoch {run.progress.epoch}, with its {', '.join(loaded)}",
        "not exact: the order of the images, random numbers and the state of the loss and of --sched plateau are not "
        "in such a checkpoint",
    ]
    if found.ema and run.ema is None:
        notes.append(f"{path} has an EMA, which is left out: --model-ema continues it")
    if (path.parent / TIMMS_OPTIONS).is_file() and not options.run.config:
        notes.append(f"options are those given now; --config {path.parent / TIMMS_OPTIONS} takes those of that run")
    return notes
