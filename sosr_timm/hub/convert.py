"""Weights of timm's and torchvision's files and of our runs as a directory in timm's Hub format."""

from __future__ import annotations

import argparse
from pathlib import Path
from typing import Any

import timm
import torch
from safetensors.torch import load_file
from timm.models import clean_state_dict, get_pretrained_cfg
from torch import Tensor

from sosr_timm.data.sources.source import SourceInfo
from sosr_timm.errors import UserError, one_line
from sosr_timm.hub.model_folder import Model, new_folder, tag_of, write_model
from sosr_timm.hub.publish import model_of_run
from sosr_timm.options.hub import ConversionOptions, ConvertOptions
from sosr_timm.options.train import ModelOptions
from sosr_timm.setup.image_format import image_format
from sosr_timm.setup.model import check_model_name
from sosr_timm.setup.stored_run import find_run

# Where timm's and torchvision's training scripts keep the weights and the EMA weights.
STATES = {False: ("state_dict", "model"), True: ("state_dict_ema", "model_ema")}
INPUT = ("img_size", "input_size", "crop_pct", "mean", "std", "interpolation")


def convert(options: ConvertOptions) -> int:
    """Write a directory from weights of any known kind.

    Returns:
        0.

    Raises:
        UserError: weights that cannot be read without executing what they hold, or that are not of the model.
    """
    conversion = options.conversion
    if not conversion.source or not conversion.destination:
        raise UserError("convert takes two names: the weights and the directory to write")
    source, destination = Path(conversion.source), Path(conversion.destination)
    tag = tag_of(conversion.destination)
    with new_folder(destination) as temporary:
        run = find_run(conversion.source, options.weights.which)
        if run is not None:
            model = model_of_run(run, options.weights, tag, conversion.license)
        elif source.is_file():
            model = model_of_file(source, conversion, options.weights.ema, tag)
        else:
            raise UserError(f"{source}: no run folder, and no file of weights")
        write_model(model, temporary)
    print(f"written to {destination}")
    return 0


def model_of_file(path: Path, options: ConversionOptions, ema: bool, tag: str) -> Model:
    """The model of a file of weights.

    Raises:
        UserError: see `convert`.
    """
    content = read_weights(path)
    arguments = content.get("args")
    arguments = dict(vars(arguments)) if isinstance(arguments, argparse.Namespace) else {}
    state = choose_state(content, path, ema)
    name = options.model or content.get("arch") or arguments.get("model")
    if not name:
        raise UserError(f"{path} does not say which model it holds: give --model NAME")
    name = str(name)
    check_model_name(name)
    try:
        cfg = get_pretrained_cfg(name)
    except RuntimeError as error:
        raise UserError(f"{error}: give --model {name.partition('.')[0]}, or another tag") from None
    classes, channels = shape_of(state, cfg.classifier, 0), shape_of(state, cfg.first_conv, 1)
    known = {"num_classes": classes, "in_chans": channels, "global_pool": arguments.get("gp")}
    extra = arguments.get("model_kwargs") or {}
    try:
        module = timm.create_model(name, **{key: value for key, value in known.items() if value is not None}, **extra)
        module.load_state_dict(state)
    except (RuntimeError, TypeError, ValueError) as error:
        raise UserError(f"{path} does not hold {name} ({one_line(error)})") from None
    fed = {key: arguments.get(key) for key in INPUT}
    fed.update({key: getattr(options, key, None) for key in INPUT if getattr(options, key, None)})
    # As weights that somebody published: what is not said otherwise is what timm knows of them.
    asked = ModelOptions(model=name, pretrained=True, in_chans=channels, **{k: v for k, v in fed.items() if v})
    form = image_format(asked, SourceInfo(), module, None)
    return Model(module, form, None, tag, options.license)


def read_weights(path: Path) -> dict[str, Any]:
    """A file's content; what would have to be executed to be read is refused.

    Raises:
        UserError: no file of weights, or one that only pickle can read.
    """
    try:
        if path.suffix == ".safetensors":
            return dict(load_file(str(path)))
        # timm's and torchvision's scripts store their arguments; a Namespace only holds them.
        with torch.serialization.safe_globals([argparse.Namespace]):
            content = torch.load(path, map_location="cpu", weights_only=True)
    except Exception as error:  # a foreign file can fail in any way; none of them may pass
        text = one_line(error)
        raise UserError(f"{path} cannot be read as weights without executing what it holds ({text})") from None
    if not isinstance(content, dict):
        raise UserError(f"{path} holds no weights by name but a {type(content).__name__}")
    return content


def choose_state(content: dict[str, Any], path: Path, ema: bool) -> dict[str, Tensor]:
    """The weights in a training script's checkpoint, or a file that is nothing else.

    Raises:
        UserError: there are none, or no EMA weights.
    """
    for name in STATES[ema]:
        if isinstance(content.get(name), dict):
            return clean_state_dict(content[name])
    if ema:
        raise UserError(f"{path} holds no EMA weights")
    if not content or not all(isinstance(value, Tensor) for value in content.values()):
        raise UserError(f"{path} holds no weights by name")
    return clean_state_dict(content)


def shape_of(state: dict[str, Tensor], layer: str | tuple[str, ...] | None, dimension: int) -> int | None:
    """A dimension of a layer's weight; None where timm does not say which layer, or the file has none."""
    layer = layer[0] if isinstance(layer, (tuple, list)) else layer
    weight = state.get(f"{layer}.weight")
    return None if weight is None else weight.shape[dimension]
