"""--evaluate: the metrics of a stored detection run, by class and in both conventions."""

from __future__ import annotations

import json
import math
from pathlib import Path
from typing import Any

import numpy as np
import torch
from safetensors.torch import load_file
from torch import nn

from sosr_timm.checkpoints.format import EMA, MANIFEST, MODEL, latest_complete, read_manifest_or_raise
from sosr_timm.checkpoints.run_folder import RunFolder
from sosr_timm.checkpoints.run_selection import differences, merged_options
from sosr_timm.detection.average_precision import Detections, average_precisions
from sosr_timm.detection.build import build_detection
from sosr_timm.detection.picture import draw_detections_of
from sosr_timm.detection.run import DetectionRun, mean_of
from sosr_timm.distributed.processes import Processes
from sosr_timm.environment import environment
from sosr_timm.errors import UserError, one_line
from sosr_timm.extras import import_extra
from sosr_timm.files import must_write, write_json
from sosr_timm.metrics.titles import DETECTION as TITLES
from sosr_timm.options.detection import DetectionOptions
from sosr_timm.options.load import Loaded
from sosr_timm.text import counted
from sosr_timm.tracking.console import logger
from sosr_timm.training.advice import advising

RECORD = "evaluation.json"
# COCO's metrics that torchmetrics computes and that are printed: name there, name here.
COCO = {"map": "coco_ap", "map_50": "coco_ap_50", "map_75": "coco_ap_75"}


def evaluate_run(loaded: Loaded[DetectionOptions], processes: Processes) -> int:
    """Evaluate the best checkpoint of a run, or the checkpoint that --evaluate names.

    Writes evaluation.json and the picture into the run folder, prints a line for each class and, as the last line of
    standard output, the record.

    Returns:
        the exit code: 0, or 128 plus the signal that ended the evaluation.

    Raises:
        UserError: no such run, a run of another program, options that differ from it, or a damaged checkpoint.
    """
    folder, checkpoint = find_detection_run(loaded.options.run.evaluate)
    given = differences(folder, loaded)
    if given:
        raise UserError(f"cannot evaluate {folder.path}: {'; '.join(given)}")
    options = merged_options(folder, loaded)
    coco = loaded.options.run.coco_metrics
    if coco:
        import_extra("torchmetrics.detection", "detection", "--coco-metrics")
        import_extra("faster_coco_eval", "detection", "--coco-metrics")
    run = build_detection(options, processes, folder, folder.read_about()[1])
    file = checkpoint / (EMA if (checkpoint / EMA).is_file() else MODEL)
    load_weights(run.model, file)
    with advising(run), run.stop_signals:
        found = run.detect(run.model)
        if found is None:
            logger.info("evaluation stopped by signal %d", run.stop_signals.received())
            return 128 + run.stop_signals.received()
    if processes.is_main:
        record = record_of(run, found, coco) | {"checkpoint": checkpoint.name, "weights": file.stem}
        show(record)
        with must_write(folder.path / RECORD):
            write_json(folder.path / RECORD, record)
        draw_detections_of(run, run.model)
        print(json.dumps({name: record[name] for name in ("checkpoint", "weights", "metrics")}), flush=True)
    return 0


def find_detection_run(path: str) -> tuple[RunFolder, Path]:
    """The run folder at a path, and the checkpoint to evaluate: the one named, else the best, else the latest.

    Raises:
        UserError: no run of sosr-detect, or no complete checkpoint.
    """
    resolved = Path(path).resolve()
    if (resolved / MANIFEST).is_file():
        folder, checkpoint = RunFolder(resolved.parent.parent), resolved
    else:
        folder = RunFolder(resolved)
        checkpoint = (folder.checkpoints / "best").resolve()
    if not folder.is_run:
        raise UserError(f"--evaluate {path}: neither a run folder nor a checkpoint of one")
    if not checkpoint.is_dir():
        found, damaged = latest_complete(folder.checkpoints)
        if found is None:
            raise UserError(f"{folder.path} has no complete checkpoint" + (f" ({damaged[0]})" if damaged else ""))
        checkpoint = found
    read_manifest_or_raise(checkpoint)
    return folder, checkpoint


def load_weights(model: nn.Module, path: Path) -> None:
    """Load a checkpoint's weights into a detector.

    Raises:
        UserError: they are of another one.
    """
    try:
        model.load_state_dict(load_file(str(path)))
    except (RuntimeError, OSError) as error:
        raise UserError(f"{path}: not weights of this detector ({one_line(error)})") from None


def record_of(run: DetectionRun, found: list[Detections], coco: bool) -> dict[str, Any]:
    """What evaluation.json holds.

    Args:
        run: that was evaluated.
        found: detections in each image.
        coco: compute COCO's metrics as well.
    """
    classes, objects = run.evaluated.classes, run.objects()
    by_class = average_precisions(objects, found, len(classes))
    metrics = {name: mean_of(values) for name, values in by_class.items()}
    if coco:
        metrics |= coco_metrics(run, found)
    counts = [sum(int(((one.labels == k) & ~one.difficult).sum()) for one in objects) for k in range(len(classes))]
    return {
        "data": run.evaluated.origin,
        "images": len(run.evaluated),
        "metrics": {name: _finite(value) for name, value in metrics.items()},
        "classes": {
            name: {"objects": counts[k], **{way: _finite(values[k]) for way, values in by_class.items()}}
            for k, name in enumerate(classes)
        },
        "environment": environment(),
    }


def _finite(value: float) -> float | None:
    return value if math.isfinite(value) else None


def coco_metrics(run: DetectionRun, found: list[Detections]) -> dict[str, float]:
    """COCO's average precisions in percent, by torchmetrics; difficult objects count as COCO's crowds.

    A detection of a crowd is neither right nor wrong, as VOC has it for difficult objects.
    """
    from torchmetrics.detection import MeanAveragePrecision

    metric = MeanAveragePrecision(backend="faster_coco_eval")
    for one, objects in zip(found, run.objects(), strict=True):
        scored = {"boxes": one.boxes, "labels": one.labels, "scores": one.scores}
        there = {"boxes": objects.boxes, "labels": objects.labels, "iscrowd": objects.difficult.astype(np.int64)}
        metric.update([_tensors(scored)], [_tensors(there)])
    values = metric.compute()
    return {ours: 100 * float(values[theirs]) for theirs, ours in COCO.items()}


def _tensors(arrays: dict[str, np.ndarray]) -> dict[str, torch.Tensor]:
    return {name: torch.from_numpy(np.ascontiguousarray(array)) for name, array in arrays.items()}


def show(record: dict[str, Any]) -> None:
    """Print a line for each class and one for their means."""
    width = max(map(len, [*record["classes"], "mean"]))
    for name, values in record["classes"].items():
        logger.info("%s", f"{name:{width}}  {_values(values)}  {counted(values['objects'], 'object')}")
    logger.info("%s", f"{'mean':{width}}  {_values(record['metrics'])}  {counted(record['images'], 'image')}")
    for name in COCO.values():
        if name in record["metrics"]:
            logger.info("%s", f"{name}  {record['metrics'][name]:.2f} %")


def _values(values: dict[str, Any]) -> str:
    return "  ".join(
        title.text(values[name]) if values[name] is not None else f"{title.name} -" for name, title in TITLES.items()
    )
