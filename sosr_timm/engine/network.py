"""The network of a run, from its options: created by timm, fed as the data set and the model say."""

from __future__ import annotations

from pathlib import Path

import timm
from PIL import ImageMode
from timm.data import resolve_data_config
from torch import nn

from sosr_timm.data.source import SourceInfo
from sosr_timm.data.transforms import ImageFormat, mode_of
from sosr_timm.errors import UserError
from sosr_timm.options.train import ModelOptions
from sosr_timm.registry import close_names

NO_LAYOUT = ("hf-hub:", "hf_hub:", "local-dir:")


def check_model_name(name: str) -> None:
    """Raise where timm knows no such model.

    Raises:
        UserError: with the nearest known name.
    """
    if name.startswith(NO_LAYOUT):
        return
    architecture = name.partition(".")[0]
    if not timm.is_model(architecture):
        raise UserError(f"unknown model '{name}': {_nearest(architecture)}")


def _nearest(architecture: str) -> str:
    text = close_names(architecture, timm.list_models())
    return text if text.startswith("did") else "timm.list_models() lists them all"


def number_of_classes(options: ModelOptions, info: SourceInfo) -> int:
    """Classes of the network: the option's, else the data set's.

    Raises:
        UserError: neither says, or they contradict each other.
    """
    if options.num_classes is not None and options.num_classes < 2:
        raise UserError(f"--num-classes {options.num_classes}: a classifier has at least 2 classes")
    if options.num_classes is None:
        if info.num_classes is None:
            raise UserError("the data set does not say how many classes it has: give --num-classes")
        return info.num_classes
    if info.num_classes is not None and info.num_classes != options.num_classes:
        raise UserError(
            f"--num-classes {options.num_classes} does not fit the data set, which has {info.num_classes} classes"
        )
    return options.num_classes


def create_network(options: ModelOptions, info: SourceInfo) -> nn.Module:
    """The model, on the CPU, with its initial or pretrained weights.

    Raises:
        UserError: an unknown model, weights that are not to be had, or arguments that the model does not take.
    """
    check_model_name(options.model)
    arguments = {
        "drop_path_rate": options.drop_path,
        "drop_block_rate": options.drop_block,
        "global_pool": options.gp,
        "bn_momentum": options.bn_momentum,
        "bn_eps": options.bn_eps,
    }
    arguments = {name: value for name, value in arguments.items() if value is not None}
    if options.pretrained_path:
        _check_file(options.pretrained_path, "--pretrained-path")
        arguments["pretrained_cfg_overlay"] = {"file": options.pretrained_path, "num_classes": -1}
    try:
        model = timm.create_model(
            options.model,
            pretrained=options.pretrained or bool(options.pretrained_path),
            in_chans=_channels(options, info),
            num_classes=number_of_classes(options, info),
            drop_rate=options.drop,
            **arguments,
            **options.model_kwargs,
        )
    except (RuntimeError, OSError, TypeError, ValueError, AssertionError, AttributeError, KeyError) as error:
        raise UserError(f"model '{options.model}': {_one_line(error)}") from None
    _initialise_head(model, options)
    if options.initial_checkpoint:
        load_weights(model, options.initial_checkpoint)
    if options.grad_checkpointing:
        try:
            model.set_grad_checkpointing(enable=True)
        except (AttributeError, AssertionError, NotImplementedError):
            raise UserError(f"model '{options.model}' has no gradient checkpointing") from None
    return model


def _channels(options: ModelOptions, info: SourceInfo) -> int:
    if options.input_size is not None:
        return options.input_size[0]
    if options.in_chans is not None:
        return options.in_chans
    return info.in_chans or 3


def _initialise_head(model: nn.Module, options: ModelOptions) -> None:
    if options.head_init_scale is None and options.head_init_bias is None:
        return
    head = model.get_classifier()
    if options.head_init_scale is not None:
        head.weight.data.mul_(options.head_init_scale)
    if options.head_init_bias is not None:
        nn.init.constant_(head.bias, options.head_init_bias)


def load_weights(model: nn.Module, path: str, use_ema: bool = False) -> None:
    """Load a state dict file into a model: safetensors, or torch's own format without executing what it holds.

    Raises:
        UserError: no such file, a file that needs pickle, or weights of another network.
    """
    _check_file(path, "weights")
    from timm.models import load_state_dict

    try:
        state = load_state_dict(path, use_ema=use_ema, device="cpu", weights_only=True)
        model.load_state_dict(state)
    except Exception as error:  # a foreign file can fail in any way; none of them may pass
        raise UserError(f"{path}: not weights of this model ({_one_line(error)[:300]})") from None


def _check_file(path: str, what: str) -> None:
    if not Path(path).is_file():
        raise UserError(f"{what}: {path} is no file")


def _one_line(error: BaseException) -> str:
    return " ".join(str(error).split()) or type(error).__name__


def _check_format(channels: int, height: int, width: int, std: tuple[float, ...], image_mode: str | None) -> None:
    if min(channels, height, width) < 1:
        raise UserError(f"images of {channels} x {height} x {width} (channels, height, width): each is at least 1")
    if min(std) <= 0:
        raise UserError(f"--std {' '.join(map(str, std))}: standard deviations are above 0")
    if image_mode is None:
        return
    try:
        bands = len(ImageMode.getmode(image_mode).bands)
    except KeyError:
        raise UserError(f"--input-img-mode {image_mode}: PIL has no such mode; known: L, RGB, RGBA, CMYK") from None
    if bands != channels:
        raise UserError(f"--input-img-mode {image_mode} has {bands} channels, the network takes {channels}")


def image_format(
    options: ModelOptions, info: SourceInfo, model: nn.Module, image_mode: str | None, use_test_size: bool = False
) -> ImageFormat:
    """What to feed: options first, then pretrained weights' own configuration or the data set's, then the model's.

    Args:
        options: of the model.
        info: of the data set.
        model: that is fed.
        image_mode: PIL mode of the images; by their channels where None.
        use_test_size: the size and crop that the model advises for evaluation, where it has them.

    Raises:
        UserError: values that do not fit the number of channels.
    """
    channels = _channels(options, info)
    given: dict = {
        "in_chans": channels,
        "img_size": options.img_size,
        "input_size": options.input_size,
        "crop_pct": options.crop_pct,
        "mean": options.mean,
        "std": options.std,
        "interpolation": options.interpolation,
    }
    if not options.pretrained:
        side = info.image_size if given["img_size"] is None else given["img_size"]
        from_data = {"img_size": side, "mean": info.mean, "std": info.std, "crop_pct": 1.0 if info.image_size else None}
        given.update({name: value for name, value in from_data.items() if given[name] is None})
    of_model = getattr(model, "pretrained_cfg", {}).get("mean") or ()
    if given["mean"] is None and len(of_model) != channels:
        given.update(mean=(0.5,) * channels, std=(0.5,) * channels)
    if given["img_size"] is not None and given["input_size"] is None:
        given["input_size"] = (channels, given["img_size"], given["img_size"])
    try:
        resolved = resolve_data_config(given, model=model, use_test_size=use_test_size)
    except AssertionError:
        raise UserError(f"--mean and --std need one value or one per channel ({channels})") from None
    _, height, width = resolved["input_size"]
    _check_format(channels, height, width, resolved["std"], image_mode)
    return ImageFormat(
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
