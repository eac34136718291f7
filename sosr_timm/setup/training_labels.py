"""The images and labels of a modified training set (long tail, noisy labels), stored in the run folder."""

from __future__ import annotations

from pathlib import Path

import torch
from safetensors import SafetensorError
from safetensors.torch import load_file

from sosr_timm.checkpoints.run_folder import LABELS, RunFolder
from sosr_timm.checkpoints.serialization import save_tensors
from sosr_timm.data.sources.long_tail_and_noise import labels_digest
from sosr_timm.data.sources.source import ImageSource
from sosr_timm.errors import UserError, one_line
from sosr_timm.files import must_write, replacing


def store_training_labels(folder: RunFolder, source: ImageSource) -> None:
    """Write the kept positions and their labels where --long-tail or --label-noise modified the training set.

    Raises:
        UserError: the file cannot be written; no partial file is left.
    """
    if "labels_sha256" not in source.info.origin:
        return
    path = folder.path / LABELS
    tensors = {"indices": torch.from_numpy(source.indices), "labels": torch.from_numpy(source.labels)}
    with must_write(path), replacing(path) as temporary:
        save_tensors(temporary, tensors, {"sha256": source.info.origin["labels_sha256"]})


def check_training_labels(folder: RunFolder, source: ImageSource) -> None:
    """Check that a resumed run has the images and labels that it began with.

    Raises:
        UserError: the file is missing or damaged, or other labels were drawn, because the data set is another one.
    """
    drawn = source.info.origin.get("labels_sha256")
    path = folder.path / LABELS
    if drawn is None and not path.exists():
        return
    stored = read_training_labels(path)
    if labels_digest(stored["indices"], stored["labels"]) != drawn:
        raise UserError(
            f"{path} has other labels than those drawn now: the data set is not the one that the run began with"
        )


def read_training_labels(path: Path) -> dict:
    """The arrays `indices` and `labels`, (N,) int64, that a run trained on.

    Raises:
        UserError: no such file, or an incomplete one.
    """
    try:
        tensors = load_file(str(path))
        return {name: tensors[name].numpy() for name in ("indices", "labels")}
    except (OSError, KeyError, SafetensorError) as error:
        raise UserError(f"{path} cannot be read ({one_line(error)})") from None
