"""Who makes the batches of a run: loader processes image by image, or the device for sets in memory."""

from __future__ import annotations

from collections.abc import Iterable

import torch

from sosr_timm.data.loaders.batch import Batch
from sosr_timm.data.loaders.device_loader import (
    DeviceEvaluationLoader,
    DeviceImages,
    DeviceTrainingBatches,
    choose_device,
    why_not,
    why_not_evaluated,
)
from sosr_timm.data.loaders.worker_loader import EvaluationBatches, TrainingBatches, evaluation_loader
from sosr_timm.data.order.order import EvaluationOrder
from sosr_timm.data.sources.source import ImageSource
from sosr_timm.data.transforms.image import ImageFormat
from sosr_timm.data.transforms.mixing import Mixing
from sosr_timm.data.transforms.normalize import BYTE_MODES, Normalization
from sosr_timm.distributed.processes import Processes
from sosr_timm.environment import usable_cores
from sosr_timm.errors import UserError
from sosr_timm.options.train import AugmentationOptions, TrainOptions
from sosr_timm.setup.image_format import check_memory
from sosr_timm.setup.sample_order import batch_sizes
from sosr_timm.setup.transforms import (
    check_box_sides,
    ends_with_normalising,
    formats,
    make_evaluation_transform,
    make_training_transform,
    without_erasing,
)
from sosr_timm.text import counted


def most_workers() -> int:
    """As many loader processes as this machine can start in a reasonable time."""
    return max(32, 8 * usable_cores())


def check_workers(workers: int) -> None:
    """Refuse more loader processes than `most_workers`.

    Raises:
        UserError: how many there can be.
    """
    if workers > most_workers():
        cores = counted(usable_cores(), "core")
        raise UserError(f"--workers {workers}: at most {most_workers()} loader processes on {cores}")


def objection(source: ImageSource, form: ImageFormat, options: AugmentationOptions) -> str | None:
    """Why the device cannot make the training batches; None where it can."""
    if options.crop_padding is None and options.train_resize is None and not options.no_aug:
        return "the random resized crop is made image by image (--crop-padding is not)"
    for name in ("train_resize", "aa", "grayscale_prob", "gaussian_blur_prob"):
        if getattr(options, name) and not options.no_aug:
            return f"--{name.replace('_', '-')} is made image by image"
    for name in ("aug_splits", "resplit"):
        if getattr(options, name):
            return f"--{name.replace('_', '-')} is made image by image"
    if options.recount > 1 and options.reprob:
        return "--recount above 1 is made image by image"
    return why_not(source, form)


def objection_to_order(options: TrainOptions) -> str | None:
    """Why the device cannot follow the order of the batches; None where it can."""
    if options.run.tta > 1:
        return "--tta is made image by image"
    if options.sizes.train_img_sizes is not None:
        return "--train-img-sizes is made image by image"
    copies = {
        "--aug-repeats": options.augmentation.aug_repeats > 1,
        "--epoch-repeats": options.data.epoch_repeats > 1,
        "--train-steps-per-epoch": options.sizes.train_steps_per_epoch is not None,
    }
    flag = next((flag for flag, given in copies.items() if given), None)
    return f"{flag} brings an image several times in an epoch, which is made image by image" if flag else None


def on_device(options: TrainOptions, training: ImageSource, evaluation: ImageSource | None, form: ImageFormat) -> bool:
    """Whether --loader means the device: of training, and of evaluation where that crops nothing away.

    Raises:
        UserError: the device is asked for and cannot make them.
    """
    data = options.data
    why = objection_to_order(options) or objection(training, form, options.augmentation)
    if evaluation is not None:
        why = why or why_not(evaluation, form)
        if data.loader == "device":
            why = why or why_not_evaluated(evaluation, form)
    return choose_device(data.loader, data.no_prefetcher, training, why)


def training_on_device(
    options: TrainOptions,
    source: ImageSource,
    form: ImageFormat,
    mixing: Mixing | None,
    device: torch.device,
    rank: int,
) -> DeviceTrainingBatches:
    """The batches of training, made on the device."""
    augmentation = options.augmentation
    plain = augmentation.no_aug
    padding = 0 if plain else augmentation.crop_padding or 0
    return DeviceTrainingBatches(
        source,
        DeviceImages(source, form, device, padding, options.model.channels_last),
        options.run.seed,
        rank,
        mixing,
        hflip=0.0 if plain else augmentation.hflip,
        vflip=0.0 if plain else augmentation.vflip,
        erase_probability=0.0 if plain else augmentation.reprob,
        erase_mode=augmentation.remode,
        cutout_side=None if plain else augmentation.cutout,
    )


def make_batches(
    options: TrainOptions,
    training: ImageSource,
    evaluation: ImageSource | None,
    form: ImageFormat,
    mixing: Mixing | None,
    order: EvaluationOrder | None,
    processes: Processes,
) -> tuple[TrainingBatches | DeviceTrainingBatches, Iterable[Batch] | None]:
    """The training batches and the evaluation loader of a run; None for the latter where nothing is evaluated.

    Raises:
        UserError: --loader device for what the device cannot make, or an augmentation that timm does not know.
    """
    device, rank = processes.device, processes.rank
    # timm's prefetcher normalises batches on the device; --no-prefetcher leaves it to the loader processes.
    as_bytes = not options.data.no_prefetcher and form.image_mode in BYTE_MODES
    sizes = formats(form, options.sizes)
    for size, samples in zip(sizes, batch_sizes(options.sizes, options.optimizer.batch_size), strict=True):
        check_memory(size, samples, device)
    if order is not None:
        check_memory(form, min(order.batch_size, order.num_samples), device)
    in_bytes = as_bytes and ends_with_normalising(options.augmentation)
    transforms = tuple(make_training_transform(options.augmentation, size, in_bytes) for size in sizes)
    if on_device(options, training, evaluation, form):
        batches = training_on_device(options, training, form, mixing, device, rank)
        if evaluation is not None and why_not_evaluated(evaluation, form) is None:
            of_evaluation = DeviceImages(evaluation, form, device, channels_last=options.model.channels_last)
            return batches, DeviceEvaluationLoader(of_evaluation, order)
    else:
        check_workers(options.data.workers)
        batches = TrainingBatches(
            training,
            transforms,
            form.image_mode,
            options.run.seed,
            rank,
            mixing,
            without_erasing(options.augmentation, sizes),
            form if in_bytes else None,
            device,
        )
    if evaluation is None:
        return batches, None
    return batches, evaluation_by_workers(options, evaluation, form, order, device, options.run.tta)


def evaluation_by_workers(
    options: TrainOptions,
    source: ImageSource,
    form: ImageFormat,
    order: EvaluationOrder,
    device: torch.device,
    tta: int,
) -> Iterable[Batch]:
    """Images as an evaluation sees them, made by loader processes; with `tta` above 1 as many views of each."""
    check_workers(options.data.workers)
    as_bytes = not options.data.no_prefetcher and form.image_mode in BYTE_MODES
    batches = EvaluationBatches(source, make_evaluation_transform(form, tta, as_bytes), form.image_mode, order)
    normalisation = Normalization(form, device) if as_bytes else None
    return evaluation_loader(batches, options.data.workers, options.data.pin_mem, normalisation)


def make_mixing(
    options: AugmentationOptions,
    smoothing: float,
    num_classes: int,
    batch_size: int,
    forms: list[ImageFormat],
    multi_label: bool = False,
) -> Mixing:
    """Mixup and CutMix of a run.

    Raises:
        UserError: an odd batch, which has no pairs, or boxes that do not fit the images.
    """
    check_box_sides(options.cutmix_minmax, forms)
    if batch_size % 2:
        raise UserError(
            f"--batch-size {batch_size}: Mixup and CutMix mix pairs, so it must be even (try {batch_size + 1})"
        )
    return Mixing(
        off_epoch=options.mixup_off_epoch,
        mixup_alpha=options.mixup,
        cutmix_alpha=options.cutmix,
        cutmix_minmax=options.cutmix_minmax,
        prob=options.mixup_prob,
        switch_prob=options.mixup_switch_prob,
        mode=options.mixup_mode,
        label_smoothing=smoothing,
        num_classes=num_classes,
        multi_label=multi_label,
    )
