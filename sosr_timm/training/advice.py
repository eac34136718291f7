"""What a run tells its user to change: where memory runs out, data comes too slowly, an operation is missing."""

from __future__ import annotations

import math
from collections.abc import Iterator
from contextlib import contextmanager

import torch

from sosr_timm.data.loaders.device_loader import DeviceTrainingBatches
from sosr_timm.data.order.order import TrainingOrder
from sosr_timm.distributed.threads import local_processes
from sosr_timm.environment import usable_cores
from sosr_timm.errors import UserError
from sosr_timm.training.run import Run

WORTH_SAYING = 0.1  # share of the time
SHORTEST = 2.0  # seconds that make a measurement


def about_data(share: float, workers: int, cores: int) -> str:
    """What to do where training waits for data.

    Args:
        share: of the time that went by waiting, in [0, 1).
        workers: loader processes of each training process.
        cores: for each training process.
    """
    # The loader must become 1 / (1 - share) times as fast for the model to be the slower of the two.
    wanted = math.ceil(max(1, workers) / max(1.0 - share, 0.01)) + (workers == 0)
    said = f"training waits for data {share:.0%} of the time"
    if workers < cores:
        return f"{said}: try --workers {min(wanted, cores)} (now {workers}; {cores} cores for this process)"
    return (
        f"{said} and {workers} loader processes already share {cores} cores: "
        "more cores, smaller image files or, for a set that fits in memory, --loader device would help"
    )


def hint_about_data(run: Run, seconds: float, waited: float) -> None:
    """Print once that training waits for data, where it does.

    Args:
        run: after it read its stopwatch.
        seconds: length of the interval.
        waited: seconds of it spent waiting for data.
    """
    # In an epoch's first interval the loader processes start, or fill their queues again after an evaluation.
    first = run.progress.update <= run.options.run.log_interval
    if first or seconds < SHORTEST or isinstance(run.training, DeviceTrainingBatches):
        return
    share = waited / seconds
    if share >= WORTH_SAYING:
        cores = max(1, usable_cores() // local_processes())
        run.console.say_once(about_data(share, run.options.data.workers, cores))


@contextmanager
def advising(run: Run) -> Iterator[None]:
    """Turn what torch cannot do into advice.

    Raises:
        UserError: out of memory, with a batch size and an accumulation that keep the global batch; an operation that
            --deterministic rules out; a model made for another image size.
    """
    try:
        yield
    except (RuntimeError, AssertionError) as error:
        advice = advice_on(error, run)
        if advice is None:
            raise
        raise UserError(advice, on_one_rank=True) from None


def advice_on(error: Exception, run: Run) -> str | None:
    """What the user can do about an error of torch; None for any other error."""
    text, step = str(error), run.step + 1
    if isinstance(error, torch.OutOfMemoryError) or "can't allocate memory" in text:
        options, pairs = run.options.optimizer, run.training.mixing is not None
        smaller = smaller_batch(options.batch_size, options.grad_accum_steps, run.order, pairs)
        return f"out of memory at step {step}: {smaller}"
    operation, found, _ = text.partition(" does not have a deterministic implementation")
    if found:
        return f"step {step}: {operation} has no deterministic form on this device: leave --deterministic out"
    if isinstance(error, AssertionError) and "doesn't match model" in text:
        return f"{text.rstrip('.')}: give --model-kwargs img_size={run.image_format.height} as well"
    return None


def smaller_batch(batch_size: int, grad_accum_steps: int, order: TrainingOrder, pairs: bool) -> str:
    """What to try where a batch does not fit: the largest proper divisor of it, with the accumulation to match.

    Args:
        batch_size: that did not fit.
        grad_accum_steps: batches per update so far.
        order: of the data.
        pairs: the batch must be even.
    """
    smaller = divided_batch(batch_size, grad_accum_steps, pairs)
    if smaller is None:
        return "no smaller batch keeps the global batch; try --grad-checkpointing, --amp or a smaller --img-size"
    smaller_size, accumulation = smaller
    updates = -(-order.batches_per_epoch // grad_accum_steps)
    samples = order.passes.samples_per_epoch
    same = order.batches_per_epoch == samples // order.global_batch  # neither fixed in number nor of several sizes
    same = same and updates == -(-(samples // (smaller_size * order.world_size)) // accumulation)
    advice = f"--batch-size {smaller_size} --grad-accum-steps {accumulation} keep the global batch"
    return advice + (
        "; add --resume auto to resume from the last checkpoint" if same else " (from the start of the run)"
    )


def divided_batch(
    batch_size: int, grad_accum_steps: int, pairs: bool, most: int | None = None
) -> tuple[int, int] | None:
    """The largest proper divisor of a batch, and the accumulation with which the global batch stays; None without one.

    Args:
        batch_size: too many samples.
        grad_accum_steps: batches per update so far.
        pairs: the batch must be even.
        most: samples that it may have.
    """
    most = batch_size // 2 if most is None else min(most, batch_size // 2)
    for size in range(most, 0, -1):
        if batch_size % size == 0 and not (pairs and size % 2):
            return size, grad_accum_steps * batch_size // size
    return None
