"""The batches of an evaluation: kept on the device, or made by loader processes as bytes that the device normalises."""

from __future__ import annotations

from collections.abc import Iterable

import torch

from sosr_timm.data.loaders.batch import Batch
from sosr_timm.data.loaders.device_loader import (
    DeviceEvaluationLoader,
    DeviceImages,
    choose_device,
    why_not_evaluated,
)
from sosr_timm.data.loaders.worker_loader import EvaluationBatches, evaluation_loader
from sosr_timm.data.order.order import EvaluationOrder
from sosr_timm.data.sources.source import ImageSource
from sosr_timm.data.transforms.image import ImageFormat, evaluation_transform
from sosr_timm.data.transforms.normalize import BYTE_MODES, Normalization
from sosr_timm.options.validate import EvaluationDataOptions
from sosr_timm.setup.batches import check_workers
from sosr_timm.setup.image_format import check_memory


def objection(source: ImageSource, form: ImageFormat, border: int | None) -> str | None:
    """Why the device cannot hold the images as they are evaluated; None where it can."""
    if border:
        return "--crop-border-pixels is done image by image"
    return why_not_evaluated(source, form)


def make_loader(
    source: ImageSource,
    form: ImageFormat,
    order: EvaluationOrder,
    device: torch.device,
    options: EvaluationDataOptions,
    workers: int,
) -> Iterable[Batch]:
    """This process's batches.

    Args:
        source: of the images.
        form: what the model is fed.
        order: of the batches.
        device: of the model.
        options: who makes the batches, and where they are normalised.
        workers: loader processes.

    Raises:
        UserError: --loader device for images that the device cannot hold as they are, a batch that is larger than its
            memory, or too many loader processes.
    """
    border = options.crop_border_pixels
    check_memory(form, min(order.batch_size, order.num_samples), device)
    if choose_device(options.loader, options.no_prefetcher, source, objection(source, form, border)):
        return DeviceEvaluationLoader(DeviceImages(source, form, device), order)
    check_workers(workers)
    as_bytes = not options.no_prefetcher and form.image_mode in BYTE_MODES
    batches = EvaluationBatches(source, evaluation_transform(form, border, as_bytes), form.image_mode, order)
    return evaluation_loader(batches, workers, options.pin_mem, Normalization(form, device) if as_bytes else None)
