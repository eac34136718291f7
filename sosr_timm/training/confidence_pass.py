"""The entropies that --record-confidence needs before training, and its pass over clean images after an epoch."""

from __future__ import annotations

from pathlib import Path

import torch
from safetensors import SafetensorError, safe_open
from torch import Tensor, nn

from sosr_timm.checkpoints.run_folder import IMAGE_ENTROPY
from sosr_timm.checkpoints.serialization import save_tensors
from sosr_timm.data.loaders.image_entropy import image_entropies
from sosr_timm.files import must_write, replacing
from sosr_timm.tracking.console import logger
from sosr_timm.training.evaluate import evaluate_part
from sosr_timm.training.run import Run


def start_recording(run: Run) -> None:
    """Find the entropy of each training image, once for a run, and begin to record; every process must call it."""
    if not run.confidence.mode:
        return
    source, processes = run.training.source, run.processes
    path = run.folder.path / IMAGE_ENTROPY
    fingerprint = source.fingerprint()
    known = _read(path, fingerprint)
    missing = processes.maximum([int(known is None)])[0]
    if missing:
        logger.info("finding the entropy of %d training images", len(source))
        mine = range(processes.rank, len(source), processes.count)
        known = torch.zeros(len(source), 2, dtype=torch.float64)
        known[mine.start :: processes.count] = image_entropies(source, mine, run.options.data.workers)
        known = processes.sum(known)
        processes.on_main(lambda: _write(path, known, fingerprint))
    run.confidence.start(known)


def _read(path: Path, fingerprint: str) -> Tensor | None:
    """The stored entropies and labels of the same images; None where there are none."""
    try:
        with safe_open(str(path), framework="pt") as file:
            return (
                file.get_tensor("entropy_and_label") if (file.metadata() or {}).get("images") == fingerprint else None
            )
    except (OSError, SafetensorError):
        return None


def _write(path: Path, known: Tensor, fingerprint: str) -> None:
    with must_write(path), replacing(path) as temporary:
        save_tensors(temporary, {"entropy_and_label": known}, {"images": fingerprint})


def clean_pass(run: Run, model: nn.Module) -> Tensor | None:
    """Count the training images above each threshold in evaluation mode, without augmentation.

    Args:
        run: with its clean images.
        model: the weights, without the wrapper of the processes.

    Returns:
        (2, P), as `ConfidenceRecord.above` gives it, over all processes; None where a signal ended the pass.
    """
    clean, record = run.clean_images, run.confidence
    total = torch.zeros_like(record.sums[:-2]).view(2, -1)

    def add(batch: int, logits: Tensor, target: Tensor) -> None:
        total.add_(record.above(logits, clean.order.indices(batch)))

    table = evaluate_part(
        model,
        clean.loader,
        clean.order,
        run.processes,
        channels_last=run.options.model.channels_last,
        stop=lambda: bool(run.stop_signals.received()),
        each_batch=add,
    )
    return None if table is None else run.processes.sum(total)
