"""What a run says of itself: at its start, at its end, and in its files."""

from __future__ import annotations

import sys
from dataclasses import asdict
from pathlib import Path
from typing import Any

import torch

from sosr_timm import results
from sosr_timm.environment import environment
from sosr_timm.options.load import Loaded, flatten, plain
from sosr_timm.options.train import TrainOptions
from sosr_timm.setup.loss import origin_of_smoothing
from sosr_timm.tracking.console import logger
from sosr_timm.training.plan import makers_of
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
        "image_format": asdict(run.image_format),
        "epochs": run.epochs,
        "updates_per_epoch": run.updates_per_epoch,
        "processes": run.processes.count,
        "config": plain(loaded.config),
        "command_line": plain(loaded.command_line),
        "command": " ".join(sys.argv),
        "environment": environment(),
    }


def announce(run: Run, checkpoint: str | None) -> None:
    """What is about to be trained, in a few lines."""
    options, processes = run.options, run.processes
    parameters = sum(parameter.numel() for parameter in run.model.parameters())
    size = f"{run.image_format.channels} x {run.image_format.height} x {run.image_format.width}"
    logger.info(
        "%s  %s parameters  %s classes  %s", options.model.model, f"{parameters:,}", run.model.num_classes, size
    )
    origin = origin_of_smoothing(options.loss, options.task)
    logger.info("loss %s  (label smoothing %g: %s)", run.loss.full_form, run.loss.smoothing, origin)
    batch = f"{options.optimizer.batch_size} x {processes.count} x {options.optimizer.grad_accum_steps}"
    logger.info(
        "%s training and %s evaluation images, batch %s (samples x processes x accumulation), "
        "%s epochs of %s updates, %s",
        f"{run.order.num_samples:,}",
        f"{run.evaluation.num_samples:,}",
        batch,
        run.epochs,
        run.updates_per_epoch,
        f"{processes.device} ({torch.get_num_threads()} threads)"
        if processes.device.type == "cpu"
        else processes.device,
    )
    origin = run.training.source.info.origin
    if "held_out" in origin:
        logger.info(
            "evaluation on %s images of the training split, held out by a hash of their names (--val-fraction %g)",
            f"{origin['held_out']:,}",
            origin["val_fraction"],
        )
    if "labels_sha256" in origin:
        logger.info(
            "training set made worse: %s to %s images a class, %s labels exchanged",
            f"{max(origin['class_sizes']):,}",
            f"{min(origin['class_sizes']):,}",
            f"{origin['labels_exchanged']:,}",
        )
    if origin.get("subset"):
        logger.warning("the data set is only a part of %s: its figures are not comparable", origin["name"])
    logger.info("batches made %s", makers_of(run))
    logger.info("run folder %s", run.folder.path)
    if checkpoint:
        logger.info("goes on from %s, after %d of %d epochs", Path(checkpoint).name, run.progress.epoch, run.epochs)


def finish(run: Run, signal_number: int) -> int:
    """Say how the run ended and, where it is whole, write its result; returns the exit code."""
    best, last = run.progress.best, run.progress.last
    if signal_number:
        logger.info("stopped early by signal %d; --resume auto goes on from here", signal_number)
        return run.options.run.exit_code_on_signal
    for title, record in (("best", best), ("last", last)):
        if record is not None:
            metrics = "  ".join(f"{name} {value:.4f}" for name, value in record["metrics"].items())
            logger.info("%s epoch %d: %s", title, record["epoch"] + 1, metrics)
    if run.progress.epoch < run.epochs:
        logger.info("stopped after epoch %d as --stop-epoch says; --resume auto goes on", run.progress.epoch)
    elif run.processes.is_main and best is not None:
        results.save_result(result_of(run), run.folder.path, "result.json")
    return 0


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
        command=" ".join(sys.argv),
        environment=environment(),
        data=run.training.source.info.origin,
    )
