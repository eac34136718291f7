"""The order of a run's training samples, from its options."""

from __future__ import annotations

from functools import partial

from sosr_timm.data.order.batch_sizes import ScheduledBatches
from sosr_timm.data.order.order import TrainingOrder
from sosr_timm.distributed.processes import Processes
from sosr_timm.errors import UserError
from sosr_timm.options.train import SizeOptions, TrainOptions
from sosr_timm.text import counted

MOST_SAMPLES = 1_000_000_000  # of an epoch: their order takes 8 bytes each


def make_order(options: TrainOptions, num_samples: int, processes: Processes) -> TrainingOrder:
    """Which samples make each batch.

    Raises:
        UserError: fewer samples than one batch, too many in an epoch, or options that make no order.
    """
    repeats, epoch_repeats = options.augmentation.aug_repeats, options.data.epoch_repeats
    steps, batch_size = options.sizes.train_steps_per_epoch, options.optimizer.batch_size
    _check_length(options, num_samples, processes.count)
    sizes = None
    if options.sizes.train_img_sizes is not None:
        sizes = _scheduled(options.sizes, batch_size, options.schedule.epochs, options.run.seed, processes.count)
    try:
        return TrainingOrder(
            num_samples,
            batch_size,
            processes.count,
            processes.rank,
            options.run.seed,
            repeats=repeats,
            epoch_repeats=epoch_repeats,
            steps=steps,
            sizes=sizes,
        )
    except ValueError as error:
        flag = "--train-img-sizes" if sizes else f"--batch-size {batch_size}"
        raise UserError(f"{flag}: {error}") from None


def _check_length(options: TrainOptions, num_samples: int, processes: int) -> None:
    """Refuse epochs that are longer than an order of indices can be kept in memory."""
    steps, repeats = options.sizes.train_steps_per_epoch, options.augmentation.aug_repeats
    if repeats > num_samples:
        raise UserError(f"--aug-repeats {repeats:g}: the training set has only {counted(num_samples, 'image')}")
    if steps is not None:
        sizes = batch_sizes(options.sizes, options.optimizer.batch_size)
        flag, samples = f"--train-steps-per-epoch {steps}", steps * max(sizes) * processes
    else:
        repeats = options.data.epoch_repeats
        flag, samples = f"--epoch-repeats {repeats:g}", int(max(1, repeats) * num_samples)
    if samples > MOST_SAMPLES:
        raise UserError(f"{flag}: an epoch of {samples:,} samples; at most {MOST_SAMPLES:,}")


def batch_sizes(options: SizeOptions, batch_size: int) -> tuple[int, ...]:
    """Samples per process of a batch, for each of --train-img-sizes; one number without them.

    Raises:
        UserError: lists of different lengths.
    """
    sides = options.train_img_sizes
    if sides is None:
        return (batch_size,)
    given = options.train_batch_sizes or (batch_size,) * len(sides)
    lists = {"train_batch_sizes": given, "train_size_probs": options.train_size_probs or sides}
    for name, values in lists.items():
        if len(values) != len(sides):
            raise UserError(
                f"--{name.replace('_', '-')} has {len(values)} values, --train-img-sizes {len(sides)}: one for each"
            )
    return given


def _scheduled(options: SizeOptions, batch_size: int, epochs: int, seed: int, processes: int):
    given = batch_sizes(options, batch_size)
    return partial(
        ScheduledBatches,
        batch_sizes=tuple(size * processes for size in given),
        seed=seed,
        probabilities=options.train_size_probs,
        schedule=options.train_size_schedule,
        epochs=epochs,
        spread=options.train_size_schedule_spread,
        random_mix=options.train_size_random_mix,
    )
