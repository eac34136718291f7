"""The format of a model's images: from the options, the data set and the model, in this order."""

from __future__ import annotations

import math
from typing import Any

import psutil
import torch
from PIL import ImageMode
from timm.data import resolve_data_config
from torch import nn

from sosr_timm.data.sources.source import SourceInfo
from sosr_timm.data.transforms.image import ImageFormat
from sosr_timm.data.transforms.image_modes import mode_of
from sosr_timm.errors import UserError
from sosr_timm.options.train import ModelOptions
from sosr_timm.setup.model import channels_of

MOST_CHANNELS = 4
LARGEST_RESIZED = 32768  # pixels of a side before the evaluation crop


def image_format(
    options: ModelOptions, info: SourceInfo, model: nn.Module, image_mode: str | None, use_test_size: bool = False
) -> ImageFormat:
    """The format: options first, then the configuration of pretrained weights or of the data set, then the model's.

    Args:
        options: of the model.
        info: of the data set.
        model: that sees the images.
        image_mode: PIL mode of the images; by their channels where None.
        use_test_size: the size and crop that the model advises for evaluation, where it has them.

    Raises:
        UserError: values for another number of channels.
    """
    channels = channels_of(options, info)
    values = of_options(options)
    if not options.pretrained:
        values = of_data(info) | values
    statistics = getattr(model, "pretrained_cfg", {}).get("mean") or ()
    if "mean" not in values and len(statistics) != channels:
        values.update(mean=(0.5,) * channels, std=(0.5,) * channels)
    if "img_size" in values and "input_size" not in values:
        values["input_size"] = (channels, values["img_size"], values["img_size"])
    try:
        resolved = resolve_data_config({"in_chans": channels, **values}, model=model, use_test_size=use_test_size)
    except AssertionError:
        raise UserError(f"--mean and --std need one value or one per channel ({channels})") from None
    _, height, width = resolved["input_size"]
    form = ImageFormat(
        channels=channels,
        height=height,
        width=width,
        mean=tuple(resolved["mean"]),
        std=tuple(resolved["std"]),
        interpolation=resolved["interpolation"],
        crop_pct=float(resolved["crop_pct"]),
        crop_mode=resolved["crop_mode"],
        image_mode=image_mode or mode_of(channels),
    )
    check_format(form)
    return form


def of_options(options: ModelOptions) -> dict[str, Any]:
    """What the options state."""
    values = {
        "img_size": options.img_size,
        "input_size": options.input_size,
        "crop_pct": options.crop_pct,
        "crop_mode": options.crop_mode,
        "mean": options.mean,
        "std": options.std,
        "interpolation": options.interpolation or None,
    }
    return {name: value for name, value in values.items() if value is not None}


def of_data(info: SourceInfo) -> dict[str, Any]:
    """What the data set states; images that are all of one size are not cropped."""
    values = {
        "img_size": info.image_size,
        "mean": info.mean,
        "std": info.std,
        "crop_pct": 1.0 if info.image_size else None,
    }
    return {name: value for name, value in values.items() if value is not None}


def check_format(form: ImageFormat) -> None:
    """Refuse what images cannot be made into.

    Raises:
        UserError: a number of channels that no image has or that differs from mean, standard deviation or mode, or
            images that are resized to a giant before the crop.
    """
    channels = form.channels
    if channels > MOST_CHANNELS:
        raise UserError(f"--input-size with {channels} channels: images have 1 to {MOST_CHANNELS}")
    for name in ("mean", "std"):
        if len(getattr(form, name)) != channels:
            raise UserError(f"--mean and --std need one value or one per channel ({channels})")
    bands = len(ImageMode.getmode(form.image_mode).bands)
    if bands != channels:
        raise UserError(f"--input-img-mode {form.image_mode} has {bands} channels, the model takes {channels}")
    resized = max(form.height, form.width) / form.crop_pct
    if resized > LARGEST_RESIZED:
        raise UserError(
            f"--crop-pct {form.crop_pct:g}: images of {form.height} x {form.width} pixels would be cropped from "
            f"{resized:,.0f} pixels a side; at most {LARGEST_RESIZED:,}"
        )


def check_memory(form: ImageFormat, batch_size: int, device: torch.device) -> None:
    """Refuse a batch whose images alone are larger than the device's memory.

    Raises:
        UserError: both sizes.
    """
    needed, available = batch_size * math.prod(form.input_size) * 4, memory_of_device(device)
    if needed > available:
        raise UserError(
            f"a batch of {batch_size:,} images of {form.channels} x {form.height} x {form.width} takes "
            f"{needed / 1e9:,.1f} GB, the {device.type} has {available / 1e9:,.1f} GB: lower --batch-size or --img-size"
        )


def memory_of_device(device: torch.device) -> int:
    """Bytes of the memory that a device computes in."""
    if device.type == "cuda":
        return torch.cuda.get_device_properties(device).total_memory
    return psutil.virtual_memory().total
