"""The images of another data set, which a model should be less confident of than of its own."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from dataclasses import replace

import torch

from sosr_timm.data.loaders.batch import Batch
from sosr_timm.data.sources.catalog import open_source
from sosr_timm.data.sources.source import ImageSource, spread
from sosr_timm.errors import UserError
from sosr_timm.options.validate import EvaluationDataOptions


def other_data_name(data: EvaluationDataOptions) -> str:
    """What to call the images of --ood-dataset or --ood-data-dir; empty where neither is given."""
    return data.ood_dataset or data.ood_data_dir or ""


def other_source(data: EvaluationDataOptions, own: ImageSource) -> ImageSource | None:
    """The images of --ood-dataset or --ood-data-dir, or None where neither is given.

    Raises:
        UserError: they cannot be opened, or are the images that are evaluated.
    """
    name = other_data_name(data)
    if not name:
        for flag, given in (
            ("--ood-split", data.ood_split != "validation"),
            ("--ood-num-samples", data.ood_num_samples),
        ):
            if given:
                raise UserError(f"{flag} has no effect without --ood-dataset or --ood-data-dir")
        return None
    try:
        found = open_source(data.ood_dataset, data.ood_data_dir, data.ood_split, download=data.dataset_download)
    except UserError as error:
        raise UserError(f"--{'ood-dataset' if data.ood_dataset else 'ood-data-dir'} {name}: {error}") from None
    found = spread(found, data.ood_num_samples)
    if found.fingerprint() == own.fingerprint():
        raise UserError(f"{name}: --ood-dataset or --ood-data-dir names the images that are evaluated; name other ones")
    return found


def loading(data: EvaluationDataOptions) -> EvaluationDataOptions:
    """How the other images are loaded: as the own ones, but on the device only where they can be."""
    return replace(data, loader="auto") if data.loader == "device" else data


class Unlabelled:
    """Batches whose labels are all 0: those of another data set mean nothing here.

    Args:
        loader: of the batches.
    """

    def __init__(self, loader: Iterable[Batch]):
        self.loader = loader

    def __iter__(self) -> Iterator[Batch]:
        for batch in self.loader:
            target = torch.zeros(len(batch.target), dtype=torch.int64, device=batch.target.device)
            yield batch._replace(target=target)
