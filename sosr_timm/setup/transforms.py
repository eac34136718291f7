"""The image transforms of a run, from its options: of training, for each image size, and of evaluation."""

from __future__ import annotations

from dataclasses import replace

from sosr_timm.data.transforms.image import ImageFormat, Transform, evaluation_transform, training_transform
from sosr_timm.data.transforms.test_time_views import AveragedViews
from sosr_timm.errors import UserError, one_line
from sosr_timm.options.train import AugmentationOptions, SizeOptions

BLUR_RADIUS = 11  # timm's kernel has 23 pixels


def formats(form: ImageFormat, options: SizeOptions) -> list[ImageFormat]:
    """The formats of training images: one for each image size."""
    if options.train_img_sizes is None:
        return [form]
    return [replace(form, height=side, width=side) for side in options.train_img_sizes]


def without_erasing(options: AugmentationOptions, forms: list[ImageFormat]) -> tuple[Transform, ...]:
    """The transforms of the first half of a batch with --resplit and no views: all but random erasing."""
    if not options.resplit or options.aug_splits or not options.reprob:
        return ()
    return tuple(make_training_transform(replace(options, reprob=0.0), form) for form in forms)


def ends_with_normalising(options: AugmentationOptions) -> bool:
    """Whether normalising is the last step, so that it can be done to the batch."""
    return options.no_aug or not (options.reprob or options.cutout or options.aug_splits)


def make_training_transform(
    options: AugmentationOptions, image_format: ImageFormat, as_bytes: bool = False
) -> Transform:
    """The augmentation of a run.

    Raises:
        UserError: an augmentation that timm does not have.
    """
    if options.gaussian_blur_prob and min(image_format.height, image_format.width) <= BLUR_RADIUS:
        raise UserError(f"--gaussian-blur-prob: timm's blur needs images of more than {BLUR_RADIUS} pixels a side")
    try:
        return training_transform(
            image_format,
            options.crop_padding,
            options.cutout,
            resize=options.train_resize,
            splits=options.aug_splits,
            resplit=options.resplit,
            as_bytes=as_bytes,
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
            interpolation=training_interpolation(options, image_format),
            re_prob=options.reprob,
            re_mode=options.remode,
            re_count=options.recount,
        )
    except (AssertionError, KeyError, ValueError) as error:
        raise UserError(f"augmentation: {one_line(error)}") from None


def training_interpolation(options: AugmentationOptions, image_format: ImageFormat) -> str:
    """--train-interpolation; the model's own where that is empty, and with --no-aug, as in timm."""
    if options.no_aug or not options.train_interpolation:
        return image_format.interpolation
    return options.train_interpolation


def make_evaluation_transform(form: ImageFormat, views: int, as_bytes: bool = False) -> Transform:
    """The transform of evaluation; with --tta of several views of each image.

    Raises:
        UserError: an impossible number of views.
    """
    transform = evaluation_transform(form, as_bytes=as_bytes)
    if views in (0, 1):
        return transform
    try:
        return AveragedViews(transform, views)
    except ValueError as error:
        raise UserError(f"--tta: {error}") from None
