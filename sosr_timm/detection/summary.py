"""What a detection run prints at its start, stores about itself, and records at its end."""

from __future__ import annotations

import shlex
import shutil
import sys
from dataclasses import asdict
from pathlib import Path
from typing import Any

from sosr_timm import results
from sosr_timm.detection.run import DetectionRun
from sosr_timm.environment import environment
from sosr_timm.options.load import Loaded, flatten, plain
from sosr_timm.text import counted
from sosr_timm.tracking.console import logger, show_facts
from sosr_timm.training.plan import about_length, about_optimizer, about_parameters
from sosr_timm.training.summary import launcher_of, recipe_name, shortest

COMMAND, MODULE = "sosr-detect", "sosr_timm.detection"


def facts_of(run: DetectionRun) -> dict[str, str]:
    """Name -> text of what a run is made of."""
    data, backbone, options = run.options.data, run.backbone, run.options.model
    scenes = run.training.data.scenes
    objects = sum(len(scene.labels) for scene in scenes)
    difficult = sum(int(scene.difficult.sum()) for scene in scenes)
    maps = run.trained.backbone
    used = "used too" if data.train_difficult else "not used"
    return {
        "data": f"{data.data_dir}: {' '.join(data.train_splits)}; evaluation on {data.val_split}",
        "images": f"{len(scenes):,} for training with {counted(objects, 'object')} ({difficult:,} difficult, {used}), "
        f"{run.evaluation_images:,} for evaluation, {counted(len(run.evaluated.classes), 'class', 'classes')}",
        "input": f"shorter side {data.min_side}, longer side at most {data.max_side}, augmentation {data.augmentation}",
        "backbone": f"{backbone.model}, weights: {backbone.weights}",
        "model": f"RetinaNet, {about_parameters(run)}; strides {', '.join(map(str, maps.strides))}; batch norm of the "
        f"backbone {'frozen' if options.freeze_bn else 'trained'}",
        "loss": run.loss.full_form,
        "optimizer": about_optimizer(run),
        **about_length(run),
    }


def describe(run: DetectionRun, loaded: Loaded) -> dict[str, Any]:
    """What run.json holds."""
    return {
        "program": run.options.program,
        "loss": run.loss.full_form,
        "num_classes": len(run.evaluated.classes),
        "class_names": list(run.evaluated.classes),
        "data": run.training.data.origin,
        "backbone": plain(asdict(run.backbone)),
        "epochs": run.epochs,
        "updates_per_epoch": run.updates_per_epoch,
        "processes": run.processes.count,
        "config": plain(loaded.config),
        "command_line": plain(loaded.command_line),
        "command": shlex.join(sys.argv),
        "environment": environment(),
    }


def announce(run: DetectionRun, checkpoint: str | None) -> None:
    """Print what is about to be trained, and where."""
    show_facts(facts_of(run))
    if run.training.data.origin.get("subset"):
        logger.warning("the data set is only a part of VOC: its metrics are not comparable")
    logger.info("run folder %s", run.folder.path)
    if checkpoint:
        done = f"{run.progress.epoch} of {counted(run.epochs, 'epoch')}"
        logger.info("resumes from %s, after %s", Path(checkpoint).name, done)


def next_commands(run: DetectionRun) -> dict[str, str]:
    """Useful commands for a run that has ended: name -> command line."""
    folder = shlex.quote(shortest(run.folder.path))
    start = f"{launcher_of(run)} -m {MODULE}" if run.processes.count > 1 else command_name()
    commands = {}
    if run.progress.epoch < run.epochs:
        commands["resume"] = f"{start} --resume {folder}"
    if run.progress.last is not None:
        commands["evaluate"] = f"{command_name()} --evaluate {folder}"
    return commands


def command_name() -> str:
    """How this program is started: as an installed command where there is one, else as a module."""
    return COMMAND if shutil.which(COMMAND) else f"python -m {MODULE}"


def result_of(run: DetectionRun) -> results.RunResult:
    """The finished run as one small record."""
    options, best, last = run.options, run.progress.best, run.progress.last
    origin = run.training.data.origin
    return results.RunResult(
        recipe=recipe_name(options.run.config),
        dataset=origin.get("name", Path(options.data.data_dir).name),
        model=f"retinanet {run.backbone.model}",
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
        data={**origin, "backbone": plain(asdict(run.backbone))},
    )
