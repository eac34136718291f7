"""A detection run from its options: every part built once, before the first step."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import torch

from sosr_timm.checkpoints.run_folder import RunFolder, folder_name
from sosr_timm.data.order.order import EvaluationOrder, TrainingOrder
from sosr_timm.data.order.seeding import seed_everything
from sosr_timm.data.transforms.image import ImageFormat
from sosr_timm.data.transforms.image_modes import mode_of
from sosr_timm.detection.backbone import TORCHVISION, Backbone, create_backbone, rebuild_backbone
from sosr_timm.detection.batches import DetectionBatches, DetectionEvaluation, Resize, make_augmentation
from sosr_timm.detection.model import Detector, create_detector
from sosr_timm.detection.run import DetectionRun
from sosr_timm.detection.task import PARTS, DetectionLoss, DetectionTask
from sosr_timm.detection.voc import Scenes, open_scenes
from sosr_timm.distributed.processes import Processes
from sosr_timm.distributed.stop_signals import StopSignals
from sosr_timm.errors import UserError
from sosr_timm.metrics.titles import DETECTION as TITLES
from sosr_timm.options.detection import DetectionDataOptions, DetectionOptions
from sosr_timm.setup.batches import check_workers
from sosr_timm.setup.metric_names import RAW
from sosr_timm.setup.optimizer import create_optimizer, learning_rate
from sosr_timm.setup.schedule import check_rates, create_schedule
from sosr_timm.tracking.console import Console
from sosr_timm.tracking.meters import Meters
from sosr_timm.tracking.metrics_log import MetricsLog
from sosr_timm.tracking.saved_images import SavedImages
from sosr_timm.tracking.stopwatch import Stopwatch
from sosr_timm.training.nonfinite import Guard
from sosr_timm.training.run import Progress


def name_of(options: DetectionOptions) -> str:
    """The name of a run's folder: data, backbone, seed."""
    data, model = Path(options.data.data_dir or "voc").name, options.model.model
    if not model.startswith((TORCHVISION, "hf-hub:", "hf_hub:")) and "/" in model:
        model = Path(model).name
    return folder_name(data, "retinanet", model, f"s{options.run.seed}")


def stored_backbone(about: dict[str, Any], where: Path) -> Backbone:
    """The backbone of a run, from what run.json holds.

    Raises:
        UserError: run.json does not describe one.
    """
    try:
        stored = about["backbone"]
        return Backbone(**{**stored, "mean": tuple(stored["mean"]), "std": tuple(stored["std"])})
    except (KeyError, TypeError) as error:
        raise UserError(f"{where} describes no backbone ({error}): it is damaged") from None


def build_detection(
    options: DetectionOptions, processes: Processes, folder: RunFolder, about: dict[str, Any] | None = None
) -> DetectionRun:
    """Every part of a run, in its initial state.

    Args:
        options: all options of the run.
        processes: that train.
        folder: where the run writes.
        about: run.json of a run that was started before: its weights are in its checkpoints, not at their source.

    Raises:
        UserError: options that are incompatible with each other, the data or the backbone.
    """
    data, seed = options.data, options.run.seed
    check_sides(data)
    check_workers(data.workers)
    training = open_scenes(data.data_dir, data.train_splits, data.class_map)
    evaluated = open_scenes(data.data_dir, (data.val_split,), data.class_map)
    order = _order(options, training, processes)
    evaluation = EvaluationOrder(
        len(evaluated),
        options.optimizer.validation_batch_size or options.optimizer.batch_size,
        processes.count,
        processes.rank,
    )

    seed_everything(seed)
    if about is None:
        model, backbone = create_backbone(options.model)
    else:
        backbone = stored_backbone(about, folder.about)
        model = rebuild_backbone(backbone)
    detector = create_detector(model, backbone, len(training.classes), options.model)
    task = make_task(detector, options, processes)
    optimizer = create_optimizer(
        task.trainable_module, options.optimizer, learning_rate(options.optimizer, options.schedule, processes.count)
    )
    task.trainable_module, optimizer = processes.accelerator.prepare(task.trainable_module, optimizer)
    updates = -(-order.batches_per_epoch // options.optimizer.grad_accum_steps)
    schedule, epochs = create_schedule(optimizer, options.schedule, updates, seed, smaller_is_better=True)
    if about is None:
        check_rates(schedule, optimizer, options.schedule, epochs)

    resize, mode = Resize(data.min_side, data.max_side), mode_of(backbone.channels)
    batches = DetectionBatches(
        training, resize, make_augmentation(data.augmentation, backbone.mean), mode, seed, data.train_difficult
    )
    form = ImageFormat(
        channels=backbone.channels,
        height=data.min_side,
        width=data.max_side,
        # Batches are in [0, 1]; the detector normalises them itself.
        mean=(0.0,) * backbone.channels,
        std=(1.0,) * backbone.channels,
        interpolation="bilinear",
        crop_pct=1.0,
        crop_mode="center",
        image_mode=mode,
    )
    suffixes = (RAW, "") if options.model.model_ema and not options.model.model_ema_force_cpu else ("",)
    columns = [*(f"train_{name}" for name in ("loss", *PARTS)), *(f"eval_{n}{s}" for s in suffixes for n in TITLES)]
    return DetectionRun(
        options=options,
        processes=processes,
        folder=folder,
        task=task,
        loss=DetectionLoss(options.model.box_loss),
        optimizer=optimizer,
        schedule=schedule,
        epochs=epochs,
        order=order,
        training=batches,
        evaluation=evaluation,
        evaluation_loader=DetectionEvaluation(evaluated, resize, mode, evaluation).loader(data.workers, data.pin_mem),
        image_format=form,
        meters=Meters(PARTS, processes.device),
        metrics_log=MetricsLog(folder, ("epoch", *columns, "lr")),
        stop_signals=StopSignals(processes, options.run.checkpoint_every),
        progress=Progress(epoch=options.schedule.start_epoch or 0),
        console=Console(processes.is_main, updates * min(epochs, options.schedule.stop_epoch or epochs)),
        stopwatch=Stopwatch(),
        saved_images=SavedImages(
            folder.path / "images" if options.run.save_images and processes.is_main else None, form
        ),
        guard=Guard(PARTS, options.run.on_nonfinite, data.max_bad_images, len(training), processes),
        backbone=backbone,
        evaluated=evaluated,
    )


def check_sides(data: DetectionDataOptions) -> None:
    """Refuse sizes that contradict each other.

    Raises:
        UserError: the shorter side is longer.
    """
    if data.min_side > data.max_side:
        raise UserError(f"--min-side {data.min_side} is above --max-side {data.max_side}")


def _order(options: DetectionOptions, training: Scenes, processes: Processes) -> TrainingOrder:
    size = options.optimizer.batch_size
    try:
        return TrainingOrder(len(training), size, processes.count, processes.rank, options.run.seed)
    except ValueError as error:
        raise UserError(f"--batch-size {size}: {error}") from None


def make_task(detector: Detector, options: DetectionOptions, processes: Processes) -> DetectionTask:
    """The task, on its device, not yet shared by the processes."""
    detector.to(device=processes.device)
    if options.model.channels_last:
        detector.to(memory_format=torch.channels_last)
    task = DetectionTask(detector, processes.device)
    if options.model.model_ema:
        task.setup_ema(
            decay=options.model.model_ema_decay,
            use_warmup=options.model.model_ema_warmup,
            device=torch.device("cpu") if options.model.model_ema_force_cpu else None,
        )
    return task
