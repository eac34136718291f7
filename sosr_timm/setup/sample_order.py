"""The order of a run's training samples, from its options."""

from __future__ import annotations

from functools import partial

from sosr_timm.data.order.batch_sizes import ScheduledBatches
from sosr_timm.data.order.order import TrainingOrder
from sosr_timm.data.order.shuffle import Permutation, Shuffle, make_shuffle
from sosr_timm.data.sources.source import ImageSource
from sosr_timm.distributed.processes import Processes
from sosr_timm.errors import UserError
from sosr_timm.options.train import DataOptions, SizeOptions, TrainOptions
from sosr_timm.text import counted

MOST_SAMPLES = 1_000_000_000_000  # of an epoch
MOST_IN_MEMORY = 1_000_000_000  # of a permutation, 8 bytes each, or of an epoch whose batches are drawn as a list


def make_order(options: TrainOptions, source: ImageSource, processes: Processes) -> TrainingOrder:
    """Which samples of the training set make each batch.

    Raises:
        UserError: fewer samples than one batch, too many in an epoch, or options that make no order.
    """
    num_samples = len(source)
    repeats, epoch_repeats = options.augmentation.aug_repeats, options.data.epoch_repeats
    steps, batch_size = options.sizes.train_steps_per_epoch, options.optimizer.batch_size
    _check_length(options, num_samples, processes.count)
    sizes = None
    if options.sizes.train_img_sizes is not None:
        sizes = _scheduled(options.sizes, batch_size, options.schedule.epochs, options.run.seed, processes.count)
    shuffle = _shuffle(options, source)
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
            shuffle=shuffle,
        )
    except ValueError as error:
        flag = "--train-img-sizes" if sizes else f"--batch-size {batch_size}"
        raise UserError(f"{flag}: {error}") from None


def _shuffle(options: TrainOptions, source: ImageSource) -> Shuffle:
    data, ends = options.data, None
    if data.order == "shards":
        ends = source.shard_ends()
        if ends is None:
            raise UserError(
                "--order shards: the training images are not stored in shards, as those of --dataset wds/ and litdata/ "
                "are"
            )
        source.stay_in_shards()
    elif data.shard_window != DataOptions.shard_window:
        raise UserError(f"--shard-window {data.shard_window} has no effect without --order shards")
    shuffle = make_shuffle(len(source), options.run.seed, data.order, ends, data.shard_window)
    if isinstance(shuffle, Permutation) and len(source) > MOST_IN_MEMORY:
        raise UserError(
            f"--order {data.order}: a permutation of {len(source):,} samples takes {8 * len(source):,} bytes; "
            f"--order bijection takes none"
        )
    return shuffle


def _check_length(options: TrainOptions, num_samples: int, processes: int) -> None:
    """Refuse epochs without end, and repeats of images that are not there."""
    steps, repeats = options.sizes.train_steps_per_epoch, options.augmentation.aug_repeats
    if repeats > num_samples:
        raise UserError(f"--aug-repeats {repeats:g}: the training set has only {counted(num_samples, 'image')}")
    if steps is not None:
        sizes = batch_sizes(options.sizes, options.optimizer.batch_size)
        flag, samples = f"--train-steps-per-epoch {steps}", steps * max(sizes) * processes
    else:
        repeats = options.data.epoch_repeats
        flag, samples = f"--epoch-repeats {repeats:g}", int(max(1, repeats) * num_samples)
    most = MOST_SAMPLES if options.sizes.train_img_sizes is None else MOST_IN_MEMORY
    if samples > most:
        raise UserError(f"{flag}: an epoch of {samples:,} samples; at most {most:,}")


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
