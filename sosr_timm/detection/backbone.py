"""The backbone of a detector: feature maps of a classifier with the weights of a run, of timm or of torchvision."""

from __future__ import annotations

import warnings
from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import timm
import torch
from timm.models._features import FeatureGetterNet
from torch import Tensor, nn

from sosr_timm.data.sources.source import SourceInfo
from sosr_timm.errors import UserError, one_line, reason_of
from sosr_timm.options.detection import DetectorOptions
from sosr_timm.options.train import ModelOptions
from sosr_timm.registry import close_names
from sosr_timm.setup.image_format import image_format
from sosr_timm.setup.model import NO_LAYOUT, NO_MODEL, check_model_name, create_model
from sosr_timm.setup.stored_run import find_run, models_of_run, published_config

TORCHVISION = "torchvision:"
LEVELS = 3  # feature maps that feed the pyramid
PROBE = 64  # pixels of the image that shows whether a backbone can be used


@dataclass(frozen=True)
class Backbone:
    """What a backbone is made of, enough to build it again without its source; JSON can hold it.

    Attributes:
        model: its name in timm.
        arguments: of its constructor.
        channels: of the images: 1 (grey) or 3.
        mean: to normalise with, a value per channel.
        std: to normalise with, a value per channel.
        weights: where they come from, in words.
    """

    model: str
    arguments: dict[str, Any]
    channels: int
    mean: tuple[float, ...]
    std: tuple[float, ...]
    weights: str


def create_backbone(options: DetectorOptions) -> tuple[nn.Module, Backbone]:
    """The classifier that the options name, with its weights, and what it is made of.

    Raises:
        UserError: an unknown model, weights that cannot be loaded, a run of something else, or images that are neither
            grey nor in colour.
    """
    source = options.model
    if source.startswith(TORCHVISION):
        model, backbone = _of_torchvision(source.removeprefix(TORCHVISION), options)
    elif Path(source).exists() and not source.startswith(NO_LAYOUT):
        model, backbone = _of_run(options)
    else:
        model, backbone = _of_timm(options)
    if backbone.channels not in (1, 3):
        raise UserError(f"--model {source} takes images of {backbone.channels} channels; here they are grey or RGB")
    return model, backbone


def rebuild_backbone(backbone: Backbone) -> nn.Module:
    """The classifier of a stored detector, with random weights: its checkpoint has the others.

    Raises:
        UserError: the installed timm does not have the model.
    """
    return _plain_model(backbone.model, backbone.arguments, backbone.channels)


def _plain_model(name: str, arguments: dict[str, Any], channels: int | None = None) -> nn.Module:
    options = ModelOptions(model=name, model_kwargs=arguments, in_chans=channels)
    # A classifier's head is never used, but every constructor has one.
    return create_model(options, SourceInfo(num_classes=1000, in_chans=channels))


def _of_run(options: DetectorOptions) -> tuple[nn.Module, Backbone]:
    given = {"--initial-checkpoint": options.initial_checkpoint, "--model-kwargs": options.model_kwargs}
    for name, value in given.items():
        if value:
            raise UserError(f"{name} is for a timm model; the run {options.model} states its model")
    run = find_run(options.model, options.which)
    if run is None:
        raise UserError(
            f"--model {options.model} is neither a run folder nor a checkpoint; a directory in timm's format is named "
            "local-dir:PATH, a file of weights goes to --initial-checkpoint"
        )
    title, model = next(iter(models_of_run(run, options.use_ema).items()))
    form = run.about["image_format"]
    weights = f"{title} of {run.folder.path.name}, {run.checkpoint.name} ({run.about.get('loss', 'loss unknown')})"
    name, arguments = _recipe_of(run.options.model.model, run.options.model.model_kwargs)
    return model, Backbone(name, arguments, form["channels"], tuple(form["mean"]), tuple(form["std"]), weights)


def _of_timm(options: DetectorOptions) -> tuple[nn.Module, Backbone]:
    if options.use_ema:
        raise UserError("--use-ema is for a run folder")
    pretrained = options.pretrained and not options.initial_checkpoint
    classes = published_config(options.model).get("num_classes") if pretrained else None
    chosen = ModelOptions(
        model=options.model,
        pretrained=pretrained,
        initial_checkpoint=options.initial_checkpoint,
        model_kwargs=options.model_kwargs,
        num_classes=classes or None,
    )
    if pretrained and not options.model.startswith(NO_LAYOUT) and not timm.is_model_pretrained(options.model):
        check_model_name(options.model)
        raise UserError(
            f"--model {options.model} has no published weights: add --no-pretrained or --initial-checkpoint FILE"
        )
    channels = (published_config(options.model).get("input_size") or (3,))[0]
    info = SourceInfo(num_classes=classes or 1000, in_chans=channels)
    if options.initial_checkpoint:
        info = replace(info, num_classes=_classes_of(options))
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", UserWarning)
        model = create_model(chosen, info)
    form = image_format(chosen, info, model, None)
    weights = "published" if pretrained else options.initial_checkpoint or "random"
    name, arguments = _recipe_of(options.model, options.model_kwargs)
    return model, Backbone(name, arguments, form.channels, form.mean, form.std, weights)


def _classes_of(options: DetectorOptions) -> int:
    """Classes of the head in a file of weights, so that all of it can be loaded."""
    from timm.models import load_state_dict

    path = options.initial_checkpoint
    if not Path(path).is_file():
        raise UserError(f"--initial-checkpoint {path} is no file")
    try:
        state = load_state_dict(path, device="cpu", weights_only=True)
    except Exception as error:  # a foreign file can fail in any way
        raise UserError(f"--initial-checkpoint {path} cannot be read ({one_line(error)})") from None
    head = published_config(options.model).get("classifier") or "fc"
    name = f"{head if isinstance(head, str) else head[0]}.weight"
    return len(state[name]) if name in state else 1000


def _recipe_of(model: str, given: dict[str, Any]) -> tuple[str, dict[str, Any]]:
    """timm's name of a model and the arguments of its constructor, also where the Hub or a directory states them."""
    if not model.startswith(NO_LAYOUT):
        return model, dict(given)
    from timm.models import resolve_model_input_args

    resolved = resolve_model_input_args(model)
    known = ("model_name", "pretrained_cfg", "in_chans", "num_classes")
    stated = {name: value for name, value in resolved.items() if name not in known}
    return resolved["model_name"], {**stated, **given}


def _of_torchvision(name: str, options: DetectorOptions) -> tuple[nn.Module, Backbone]:
    """A ResNet with torchvision's first ImageNet weights, which the authors' baselines start from, in timm's model."""
    from torchvision import models

    for flag, value in (("--initial-checkpoint", options.initial_checkpoint), ("--use-ema", options.use_ema)):
        if value:
            raise UserError(f"{flag} has no effect with --model {TORCHVISION}{name}")
    known = [other for other in models.list_models(module=models) if "resne" in other]
    if name not in known:
        raise UserError(f"--model {TORCHVISION}{name}: {close_names(name, known)}")
    chosen = models.get_model_weights(name).IMAGENET1K_V1
    try:
        state = chosen.get_state_dict(progress=False, check_hash=True) if options.pretrained else None
    except (OSError, RuntimeError) as error:
        raise UserError(f"--model {TORCHVISION}{name}: the weights cannot be downloaded ({reason_of(error)})") from None
    arguments = {"zero_init_last": False, **options.model_kwargs}  # as torchvision's start
    model = _plain_model(name, arguments)
    if state is not None:
        try:
            model.load_state_dict(state)
        except RuntimeError as error:
            raise UserError(f"--model {TORCHVISION}{name}: timm's model is another one ({one_line(error)})") from None
    preset = chosen.transforms()
    weights = f"torchvision's {chosen.name}" if options.pretrained else "random"
    return model, Backbone(name, arguments, 3, tuple(preset.mean), tuple(preset.std), weights)


class FeatureMaps(nn.Module):
    """Three feature maps of a classifier, from the finest to the coarsest.

    Args:
        model: a classifier of timm.
        name: of it, for messages.
        channels: of its images.
        indices: of the feature maps; None for the last three.

    Attributes:
        channels: of each feature map.
        strides: of each feature map in pixels.

    Raises:
        UserError: a model without such feature maps, or one that takes images of one size only.
    """

    def __init__(self, model: nn.Module, name: str, channels: int, indices: Sequence[int] | None = None):
        super().__init__()
        if not hasattr(model, "forward_intermediates") or not hasattr(model, "feature_info"):
            raise UserError(f"--model {name}: timm gives no feature maps of this model; try a ResNet")
        wanted = list(indices) if indices is not None else list(range(-LEVELS, 0))
        try:
            self.maps = FeatureGetterNet(model, out_indices=wanted)
            self.channels = tuple(self.maps.feature_info.channels())
            self.strides = tuple(self.maps.feature_info.reduction())
        except (*NO_MODEL, IndexError) as error:
            raise UserError(f"--model {name}: it does not have these feature maps ({one_line(error)})") from None
        if any(after <= before for before, after in zip(self.strides, self.strides[1:], strict=False)):
            strides = ", ".join(map(str, self.strides))
            raise UserError(
                f"--model {name}: its feature maps have the strides {strides}; a pyramid needs three that grow: "
                "name others with --feature-maps"
            )
        self._check(name, channels)

    def forward(self, images: Tensor) -> list[Tensor]:
        return self.maps(images)

    def _check(self, name: str, channels: int) -> None:
        """Look at an image that is not square, and freeze what no feature map depends on.

        The layers behind the last feature map would get no gradient, and several processes would wait for it.
        """
        image = torch.zeros(1, channels, PROBE, 2 * PROBE)
        training = self.training
        self.eval()
        try:
            with torch.enable_grad():
                maps = self.forward(image)
                total = sum(one.sum() for one in maps)
        except (AssertionError, RuntimeError, ValueError, TypeError, LookupError, ArithmeticError) as error:
            raise UserError(
                f"--model {name} cannot look at images of any size ({one_line(error)}); a transformer may need "
                "--model-kwargs dynamic_img_size=True or strict_img_size=False"
            ) from None
        found = [(one.shape[1], 2 * PROBE // one.shape[3]) for one in maps]
        if found != list(zip(self.channels, self.strides, strict=True)):
            raise UserError(f"--model {name}: its feature maps are not what timm says of them ({found})")
        parameters = [one for one in self.parameters() if one.requires_grad]
        gradients = torch.autograd.grad(total, parameters, allow_unused=True)
        for parameter, gradient in zip(parameters, gradients, strict=True):
            parameter.requires_grad_(gradient is not None)
        self.train(training)
