"""The model of a run, from its options: created by timm, with its weights."""

from __future__ import annotations

from pathlib import Path

import timm
import torch
from safetensors import SafetensorError
from torch import nn

from sosr_timm.data.sources.source import SourceInfo
from sosr_timm.data.transforms.image import ImageFormat
from sosr_timm.errors import UserError, one_line
from sosr_timm.models.download import checked_download
from sosr_timm.options.train import ModelOptions
from sosr_timm.registry import close_names

HUB = ("hf-hub:", "hf_hub:")
NO_LAYOUT = (*HUB, "local-dir:")
NO_MODEL = (
    *(RuntimeError, OSError, TypeError, ValueError, AssertionError, AttributeError, LookupError, ArithmeticError),
    *(MemoryError, SafetensorError),
)


def check_model_name(name: str) -> None:
    """Refuse a model that timm does not have.

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
    """Classes of the model: the option's, else the data set's; more than the data set has are allowed.

    Raises:
        UserError: neither says, the option has fewer than the data set, or not as many as its vectors of labels.
    """
    if options.num_classes is None:
        if info.num_classes is None:
            raise UserError("the data set does not say how many classes it has: give --num-classes")
        return info.num_classes
    known = info.num_classes
    if known is not None and (known > options.num_classes or (info.multi_hot and known != options.num_classes)):
        raise UserError(f"--num-classes {options.num_classes}: the data set has {known} classes")
    return options.num_classes


def create_model(options: ModelOptions, info: SourceInfo) -> nn.Module:
    """The model, on the CPU, with its initial or pretrained weights.

    Raises:
        UserError: an unknown model, weights that cannot be loaded, or arguments that the model does not take.
    """
    check_model_name(options.model)
    arguments = {
        "drop_path_rate": _drop_path(options),
        "drop_block_rate": options.drop_block,
        "global_pool": options.gp,
        "bn_momentum": options.bn_momentum,
        "bn_eps": options.bn_eps,
    }
    arguments = {name: value for name, value in arguments.items() if value is not None}
    if options.pretrained_path:
        _check_file(options.pretrained_path, "--pretrained-path")
        arguments["pretrained_cfg_overlay"] = {"file": options.pretrained_path, "num_classes": -1}
    repository = options.model.partition(":")[2] if options.model.startswith(HUB) else None
    try:
        with checked_download(repository):
            model = timm.create_model(
                options.model,
                pretrained=options.pretrained or bool(options.pretrained_path),
                in_chans=channels_of(options, info),
                num_classes=number_of_classes(options, info),
                drop_rate=options.drop,
                **arguments,
                **options.model_kwargs,
            )
    except NO_MODEL as error:
        raise UserError(f"model '{options.model}': {_one_line(error)}") from None
    if not isinstance(getattr(model, "num_classes", None), int):
        raise UserError(f"model '{options.model}' with these --model-kwargs is no classifier")
    _initialise_head(model, options)
    if options.initial_checkpoint:
        load_weights(model, options.initial_checkpoint)
    if options.grad_checkpointing:
        try:
            model.set_grad_checkpointing(enable=True)
        except (AttributeError, AssertionError, NotImplementedError):
            raise UserError(f"model '{options.model}' has no gradient checkpointing") from None
    return model


def _drop_path(options: ModelOptions) -> float | None:
    """--drop-path, or --drop-connect as it was called."""
    if options.drop_connect is None:
        return options.drop_path
    if options.drop_path is not None and options.drop_path != options.drop_connect:
        raise UserError("--drop-connect is the older name of --drop-path: give one of them")
    return options.drop_connect


def channels_of(options: ModelOptions, info: SourceInfo) -> int:
    """Channels of the input: the options', else the data set's, else 3."""
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
        if head.bias is not None:
            head.bias.data.mul_(options.head_init_scale)
    if options.head_init_bias is not None:
        nn.init.constant_(head.bias, options.head_init_bias)


@torch.no_grad()
def try_model(model: nn.Module, forms: list[ImageFormat]) -> None:
    """Let the model see an empty image of each size, so that what it cannot take shows before the first batch.

    Args:
        model: on its device, in its type.
        forms: what it will be fed.

    Raises:
        UserError: a size that the model does not take, or an output that is not one vector of logits.
    """
    parameter, training = next(model.parameters()), model.training
    model.eval()
    for form in forms:
        flag = f"--train-img-sizes {form.height}: " if len(forms) > 1 else ""
        image = torch.zeros(1, *form.input_size, device=parameter.device, dtype=parameter.dtype)
        try:
            output = model(image)
        except (AssertionError, RuntimeError, ValueError, TypeError, LookupError, ArithmeticError) as error:
            if "deterministic implementation" in str(error):
                raise
            size = f"{form.height} x {form.width} pixels"
            if isinstance(error, torch.OutOfMemoryError) or "can't allocate memory" in str(error):
                raise UserError(f"{flag}out of memory with a single image of {size}: lower --img-size") from None
            keyword = "dynamic_img_size=True" if len(forms) > 1 else f"img_size={form.height}"
            raise UserError(
                f"{flag}the model does not take images of {size} ({one_line(error)}); "
                f"see --gp and --model-kwargs, where a transformer needs {keyword}"
            ) from None
        if not isinstance(output, torch.Tensor) or output.ndim != 2:
            found = f"shape {tuple(output.shape)}" if isinstance(output, torch.Tensor) else type(output).__name__
            raise UserError(f"the output of the model is no vector of logits ({found}): see --gp and --model-kwargs")
    model.train(training)


def load_weights(model: nn.Module, path: str, use_ema: bool = False) -> None:
    """Load a state dict file into a model: safetensors, or torch's own format without executing what it holds.

    Raises:
        UserError: no such file, a file that needs pickle, or weights of another model.
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
    return one_line(error)
