"""What a run prints at its start and at its end, and what it stores about itself."""

from __future__ import annotations

import os
import shlex
import sys
from collections.abc import Callable
from dataclasses import asdict
from pathlib import Path
from typing import Any

import torch

from sosr_timm import results
from sosr_timm.checkpoints.run_folder import RESULT
from sosr_timm.distributed.launchers import is_installed_command, script_for_launchers
from sosr_timm.environment import environment
from sosr_timm.files import must_write, shortest
from sosr_timm.options.load import Loaded, flatten, plain
from sosr_timm.options.task import is_multi_label
from sosr_timm.options.train import TrainOptions
from sosr_timm.text import counted, fitted, width_of
from sosr_timm.tracking.console import logger, show_facts
from sosr_timm.tracking.curves import CURVES, draw_curves
from sosr_timm.training.plan import facts_of
from sosr_timm.training.run import Run


def describe(run: Run, loaded: Loaded[TrainOptions]) -> dict[str, Any]:
    """What run.json holds: the loss in full, what was given where, what the run is fed, where it runs."""
    return {
        "loss": run.loss.full_form,
        "smoothing": run.loss.smoothing,
        "num_classes": run.model.num_classes,
        "data_classes": run.training.source.info.num_classes,
        "class_names": run.training.source.info.class_names,
        "data": run.training.source.info.origin,
        "order": run.order.passes.shuffle.name,
        "image_format": asdict(run.image_format),
        "epochs": run.epochs,
        "updates_per_epoch": run.updates_per_epoch,
        "processes": run.processes.count,
        "config": plain(loaded.config),
        "command_line": plain(loaded.command_line),
        "command": shlex.join(sys.argv),
        "environment": environment(),
    }


def announce(run: Run, checkpoint: str | None) -> None:
    """Print what is about to be trained, and where."""
    show_facts(facts_of(run))
    origin = run.training.source.info.origin
    if origin.get("subset"):
        logger.warning("the data set is only a part of %s: its metrics are not comparable", origin["name"])
    if run.options.model.amp and not run.processes.accelerator.native_amp:
        logger.warning("--amp with float16 has no effect on a CPU, which computes in float32: try --amp-dtype bfloat16")
    if run.dtype == torch.float16 and run.processes.device.type == "cpu":
        logger.warning("float16 is slow on a CPU, which has no instructions for it: try --model-dtype bfloat16")
    logger.info("run folder %s", run.folder.path)
    if checkpoint:
        done = f"{run.progress.epoch} of {counted(run.epochs, 'epoch')}"
        logger.info("resumes from %s, after %s", Path(checkpoint).name, done)


def finish(
    run: Run,
    signal_number: int,
    result: Callable[[Run], results.RunResult] | None = None,
    commands: Callable[[Run], dict[str, str]] | None = None,
) -> int:
    """Print how the run ended and, where it is complete, write its result.

    Args:
        run: that ended.
        signal_number: that ended it early, or 0.
        result: makes the record; `result_of` where not given.
        commands: useful ones for the run; `next_commands` where not given.

    Returns:
        the exit code.
    """
    result, commands = result or result_of, commands or next_commands
    best, last = run.progress.best, run.progress.last
    if signal_number:
        logger.info("stopped early by signal %d", signal_number)
        show_facts(commands(run), "next", commands=True)
        return run.options.run.exit_code_on_signal
    for title, record in (("best", best), ("last", last)):
        if record is not None:
            show_metrics(run, title, record)
    if run.progress.epoch < run.epochs:
        done = f"{run.progress.epoch} of {counted(run.epochs, 'epoch')}"
        logger.info("stopped after %s because of --stop-epoch", done)
    elif run.processes.is_main and best is not None:
        advice = f"; the run is complete: make room, and --resume {run.folder.path} writes it"
        with must_write(run.folder.path / RESULT, advice):
            results.save_result(result(run), run.folder.path, RESULT)
    if run.processes.is_main:
        draw_curves_of(run)
    show_facts(commands(run), "next", commands=True)
    return 0


def show_metrics(run: Run, title: str, record: dict[str, Any]) -> None:
    """Print the metrics of the best or last epoch, and below them those of the EMA where there is one."""
    width, head = width_of(sys.stdout), f"{title} epoch {record['epoch']}:"
    logger.info("%s", fitted(head, run.in_words(record["metrics"]), width))
    if f"{run.metrics[0]}_ema" in record["metrics"]:
        of_ema = run.in_words(record["metrics"], "_ema")
        logger.info("%s", fitted(f"{'EMA:':>{len(head)}}", of_ema, width))


def next_commands(run: Run) -> dict[str, str]:
    """Useful commands for a run that has ended: name -> command line."""
    folder = shlex.quote(shortest(run.folder.path))
    commands = {}
    installed = is_installed_command()
    validate = "sosr-validate" if installed else "python validate.py"
    if run.progress.epoch < run.epochs:
        train = f"{launcher_of(run)} {script_for_launchers() if installed else shlex.quote(sys.argv[0])}"
        commands["resume"] = f"{train} --resume {folder}"
    if run.progress.last is not None:
        commands["evaluate"] = f"{validate} {folder}"
    if run.progress.epoch == run.epochs:
        commands["compare"] = f"{validate} --compare {folder} OTHER_RUN"
        if not is_multi_label(run.options.task) and run.evaluation is not None:
            commands["publish"] = f"sosr-hub publish {folder} --repo-id ORGANISATION/NAME.TAG"
    return commands


def launcher_of(run: Run) -> str:
    """What starts a script with as many processes as this run has; the same launcher on each of several machines."""
    count, local = run.processes.count, int(os.environ.get("LOCAL_WORLD_SIZE", "1"))
    if count == 1:
        return "python"
    prefix = "ACCELERATE_USE_CPU=true " if run.processes.device.type == "cpu" else ""
    nodes = "" if local == count else f" --nnodes {count // local} ..."
    return f"{prefix}torchrun --nproc_per_node {local}{nodes}"


def draw_curves_of(run: Run) -> None:
    """Draw the run's curves; a picture that cannot be written does not fail the run."""
    try:
        draw_curves(run.folder.summary, run.folder.path / CURVES, run.folder.path.name)
    except OSError as error:
        logger.warning("%s not written (%s)", CURVES, error.strerror or error)


def recipe_name(config: str | None) -> str:
    """A recipe's path below hparams/ without its ending (`cifar100/cifar_resnet56`); another file's bare name."""
    if not config:
        return ""
    path = Path(config).with_suffix("")
    return "/".join(path.parts[path.parts.index("hparams") + 1 :]) if "hparams" in path.parts else path.name


def result_of(run: Run) -> results.RunResult:
    """The finished run as one small record."""
    options = run.options
    best, last = run.progress.best, run.progress.last
    return results.RunResult(
        recipe=recipe_name(options.run.config),
        dataset=options.data.dataset or str(options.data.data or options.data.data_dir),
        model=options.model.model,
        loss=run.loss.full_form,
        seed=options.run.seed,
        epochs=run.epochs,
        best={**best["metrics"], "epoch": best["epoch"]},
        last={**last["metrics"], "epoch": last["epoch"]},
        options_digest=results.digest(flatten(options)),
        seconds=run.progress.seconds,
        processes=run.processes.count,
        command=shlex.join(sys.argv),
        environment=environment(),
        data=run.training.source.info.origin,
    )
