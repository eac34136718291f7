"""The images of a run, from its options: opened, checked against each other and over the processes."""

from __future__ import annotations

from sosr_timm.data.catalog import open_source
from sosr_timm.data.mixing import Mixing
from sosr_timm.data.source import ImageSource, spread
from sosr_timm.data.transforms import ImageFormat, Transform, training_transform
from sosr_timm.engine.launch import Processes
from sosr_timm.errors import UserError
from sosr_timm.options.train import AugmentationOptions, DataOptions, ModelOptions


def open_sources(data: DataOptions, model: ModelOptions, processes: Processes) -> tuple[ImageSource, ImageSource]:
    """The training and the evaluation images.

    Raises:
        UserError: data that is missing, splits with other classes, or a process that sees other files.
    """
    root = data.data or data.data_dir
    if data.data and data.data_dir and data.data != data.data_dir:
        raise UserError(f"two data folders: {data.data} and --data-dir {data.data_dir}")
    common = {"download": data.dataset_download, "class_map": data.class_map}
    if data.dataset_download and processes.count > 1:
        # One process downloads, the others find it done.
        if processes.is_main:
            open_source(data.dataset, root, data.train_split, **common)
        processes.wait()
    training = spread(open_source(data.dataset, root, data.train_split, **common), data.train_num_samples)
    evaluation = spread(open_source(data.dataset, root, data.val_split, **common), data.val_num_samples)
    _check_classes(training, evaluation)
    fingerprint = f"{len(training)} and {len(evaluation)} images {training.fingerprint()} {evaluation.fingerprint()}"
    different = processes.same_everywhere(fingerprint)
    if different:
        raise UserError(
            f"process {', '.join(map(str, different))} sees other files than process 0, which sees "
            f"{len(training)} training and {len(evaluation)} evaluation images"
        )
    return training, evaluation


def _check_classes(training: ImageSource, evaluation: ImageSource) -> None:
    ours, theirs = training.info.class_names, evaluation.info.class_names
    if ours is None or theirs is None or ours == theirs:
        return
    missing = sorted(set(ours) ^ set(theirs))
    if missing:
        place = "evaluation" if missing[0] in ours else "training"
        raise UserError(
            f"the splits have other classes ({len(ours)} in training, {len(theirs)} in evaluation): "
            f"'{missing[0]}' is missing in {place}"
        )
    raise UserError("the splits number their classes in another order")


def make_mixing(options: AugmentationOptions, smoothing: float, num_classes: int, batch_size: int) -> Mixing:
    """Mixup and CutMix of a run.

    Raises:
        UserError: an odd batch, which has no pairs.
    """
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
    )


def make_training_transform(options: AugmentationOptions, image_format: ImageFormat) -> Transform:
    """The augmentation of a run.

    Raises:
        UserError: something that timm does not know.
    """
    try:
        return training_transform(
            image_format,
            options.crop_padding,
            no_aug=options.no_aug,
            train_crop_mode=options.train_crop_mode,
            scale=options.scale,
            ratio=options.ratio,
            hflip=options.hflip,
            vflip=options.vflip,
            color_jitter=options.color_jitter,
            color_jitter_prob=options.color_jitter_prob,
            grayscale_prob=options.grayscale_prob or 0.0,
            gaussian_blur_prob=options.gaussian_blur_prob or 0.0,
            auto_augment=options.aa or None,
            interpolation=options.train_interpolation,
            re_prob=options.reprob,
            re_mode=options.remode,
            re_count=options.recount,
        )
    except (AssertionError, KeyError, ValueError) as error:
        raise UserError(f"augmentation: {' '.join(str(error).split()) or type(error).__name__}") from None
