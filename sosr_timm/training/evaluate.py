"""Evaluation, exact for any number of processes: the same batches, the same sums, added up in the same order."""

from __future__ import annotations

from collections.abc import Callable, Iterable

import torch
from torch import nn

from sosr_timm.data.loaders.batch import Batch
from sosr_timm.data.order.order import EvaluationOrder
from sosr_timm.distributed.processes import Processes
from sosr_timm.errors import UserError
from sosr_timm.metrics.table import MetricTable
from sosr_timm.setup.metric_names import Table


def evaluate(
    model: nn.Module,
    loader: Iterable[Batch],
    order: EvaluationOrder,
    processes: Processes,
    *,
    channels_last: bool = False,
    stop: Callable[[], bool] = lambda: False,
    table: Table | None = None,
) -> Table | None:
    """One pass over an evaluation set by all processes.

    Args:
        model, loader, order, processes, channels_last, stop, table: as in `evaluate_part`.

    Returns:
        the metrics of the complete set, the same on every process; None if the pass was stopped.

    Raises:
        UserError: an image that cannot be read.
    """
    table = evaluate_part(model, loader, order, processes, channels_last=channels_last, stop=stop, table=table)
    if table is not None:
        table.reduce(processes.sum)
    return table


@torch.no_grad()
def evaluate_part(
    model: nn.Module,
    loader: Iterable[Batch],
    order: EvaluationOrder,
    processes: Processes,
    *,
    channels_last: bool = False,
    stop: Callable[[], bool] = lambda: False,
    table: Table | None = None,
    each_batch: Callable[[int, torch.Tensor, torch.Tensor], None] = lambda batch, logits, target: None,
) -> Table | None:
    """This process's batches of an evaluation set.

    Args:
        model: (M, C, H, W) -> (M, K) logits; put into evaluation mode.
        loader: of this process's batches.
        order: that the loader follows.
        processes: that share the pass.
        channels_last: memory layout of the images.
        stop: asked before each batch, equally often by every process; True ends the pass.
        table: to fill; one of single-label metrics where not given.
        each_batch: called after each batch with its number, logits and target.

    Returns:
        the table with this process's rows, not yet added up; None where the pass was stopped.

    Raises:
        UserError: an image cannot be read: metrics without it would not be comparable.
    """
    model.eval()
    table = MetricTable(order.num_batches, device=processes.device) if table is None else table
    dtype = next((parameter.dtype for parameter in model.parameters()), torch.float32)
    batches = iter(loader)
    for turn in range(-(-order.num_batches // order.world_size)):
        if stop():
            return None
        if turn >= len(order):
            continue
        batch: Batch = next(batches)
        if batch.unreadable:
            bad = batch.unreadable[0]
            raise UserError(f"{bad.name} cannot be read ({bad.reason}); fix or replace the image", on_one_rank=True)
        images = to_device(batch.images, processes.device, channels_last, dtype)
        with processes.accelerator.autocast():
            logits = mean_over_views(model(images), len(batch.target))
        target = batch.target.to(processes.device, non_blocking=True)
        table.update(batch.position, logits, target)
        each_batch(batch.position, logits, target)
    return table


def mean_over_views(logits: torch.Tensor, images: int) -> torch.Tensor:
    """(M, K) logits of images from (M * V, K) of their views, one after the other."""
    views = len(logits) // images
    return logits if views == 1 else logits.unflatten(0, (images, views)).mean(dim=1)


def to_device(images: torch.Tensor, device: torch.device, channels_last: bool, dtype: torch.dtype) -> torch.Tensor:
    """Images where the model is, in its memory layout and type, without waiting for the copy."""
    layout = torch.channels_last if channels_last else torch.contiguous_format
    return images.to(device, dtype, non_blocking=True, memory_format=layout)
