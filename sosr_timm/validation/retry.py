"""Smaller batches where memory runs out, as timm steps down."""

from __future__ import annotations

from collections.abc import Callable
from typing import TypeVar

import torch
from timm.utils import check_batch_size_retry, decay_batch_step

from sosr_timm.errors import UserError
from sosr_timm.tracking.console import logger
from sosr_timm.validation.collective_errors import is_out_of_memory

Result = TypeVar("Result")


def with_smaller_batches(action: Callable[[int], Result], batch_size: int, retry: bool) -> tuple[Result, int]:
    """The result of an action, tried with smaller and smaller batches where memory runs out.

    Args:
        action: takes a batch size; where it fails on one process it fails on all.
        batch_size: to begin with.
        retry: try again; else running out of memory is an error at once.

    Returns:
        the result, and the batch size that it took.

    Raises:
        UserError: out of memory, with the next smaller batch; with `retry`, at a single sample.
    """
    while True:
        try:
            return action(batch_size), batch_size
        except Exception as error:
            if not is_out_of_memory(error) or not check_batch_size_retry(str(error)):
                raise
        # Outside of the handler, so that nothing keeps the failed batch alive.
        smaller = decay_batch_step(batch_size)
        if not smaller:
            raise UserError("out of memory with a single image; try --amp or a smaller --img-size")
        if not retry:
            raise UserError(f"out of memory at --batch-size {batch_size}: try {smaller}, or let --retry find it")
        logger.warning("out of memory at batch size %d: continuing with %d", batch_size, smaller)
        if torch.cuda.is_available():
            torch.cuda.empty_cache()
        batch_size = smaller
