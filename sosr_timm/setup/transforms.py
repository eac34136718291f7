"""The image transforms of a run, from its options: of training, for each image size, and of evaluation."""

from __future__ import annotations

from dataclasses import replace

from sosr_timm.data.transforms.image import ImageFormat, Transform, evaluation_transform, training_transform
from sosr_timm.data.transforms.test_time_views import AveragedViews
from sosr_timm.errors import UserError, one_line
from sosr_timm.options.train import AugmentationOptions, SizeOptions

POLICY_MODES = ("L", "RGB")  # what the operations of Pillow take
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
        UserError: an augmentation that timm does not have, or that images of this size or mode do not allow.
    """
    if not options.no_aug:
        check_augmentation(options, image_format)
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


def check_augmentation(options: AugmentationOptions, form: ImageFormat) -> None:
    """Refuse an augmentation that images of this size or mode do not allow.

    Raises:
        UserError: which option, and the size or mode.
    """
    size = f"{form.height} x {form.width}"
    if options.cutout is not None and options.cutout > min(form.height, form.width):
        raise UserError(f"--cutout {options.cutout}: the square is larger than the images ({size})")
    if options.crop_padding and options.crop_padding >= min(form.height, form.width):
        raise UserError(
            f"--crop-padding {options.crop_padding}: crops of {size} could miss the image; less than its sides"
        )
    if options.aa and form.image_mode not in POLICY_MODES:
        raise UserError(
            f"--aa {options.aa}: its operations take images of mode {' or '.join(POLICY_MODES)}, not "
            f"{form.image_mode}: leave it out, or choose --in-chans 3"
        )
    if options.grayscale_prob and form.channels not in (1, 3):
        raise UserError(f"--grayscale-prob: for images of 1 or 3 channels, not {form.channels}")


def check_box_sides(minmax: tuple[float, float] | None, forms: list[ImageFormat]) -> None:
    """Refuse a range of CutMix box sides that holds no whole number of pixels.

    Raises:
        UserError: the range and the image side.
    """
    for side in {side for form in forms for side in (form.height, form.width)} if minmax else ():
        if int(side * minmax[0]) >= int(side * minmax[1]):
            raise UserError(
                f"--cutmix-minmax {minmax[0]:g} {minmax[1]:g}: a box in images of {side} pixels would always have "
                f"{int(side * minmax[0])} pixels a side; choose a wider range"
            )


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
