"""The files of --record-features: one for an epoch, in the run folder's directory features."""

from __future__ import annotations

import torch

from sosr_timm.checkpoints.run_folder import FEATURES
from sosr_timm.checkpoints.serialization import save_tensors
from sosr_timm.errors import reason_of
from sosr_timm.files import replacing
from sosr_timm.tracking.console import logger
from sosr_timm.training.run import Run


def write_features(run: Run, epoch: int) -> None:
    """Write the features of an epoch that is due, of all processes one after the other; every process must call it."""
    if not run.features.active:
        return
    every = run.options.run.record_features
    values, indices = run.features.read_epoch()
    if (epoch + 1) % every and epoch + 1 != run.epochs:
        return
    processes = run.processes
    if processes.count > 1:
        # Every process has as many batches of as many samples.
        all_values = values.new_zeros(processes.count, *values.shape)
        all_indices = indices.new_zeros(processes.count, *indices.shape)
        all_values[processes.rank], all_indices[processes.rank] = values, indices
        values, indices = processes.sum(all_values).flatten(0, 1), processes.sum(all_indices).flatten(0, 1)
    if not processes.is_main:
        return
    labels = torch.from_numpy(run.training.source.read_labels())[indices]
    path = run.folder.path / FEATURES / f"epoch{epoch:05d}.safetensors"
    try:
        with replacing(path) as temporary:
            tensors = {"features": values, "labels": labels.to(torch.int32), "indices": indices.to(torch.int32)}
            save_tensors(temporary, {name: tensor.contiguous() for name, tensor in tensors.items()})
    except OSError as error:
        logger.warning("%s not written (%s): training continues", path, reason_of(error))
