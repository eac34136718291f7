"""What is evaluated: the model of a run folder or checkpoint, or a timm model, and the format of its input."""

from __future__ import annotations

import dataclasses
import warnings
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from safetensors.torch import load_file
from timm.models import resolve_model_input_args
from torch import nn

from sosr_timm.checkpoints.format import EMA, MANIFEST, MODEL, latest_complete, read_manifest_or_raise
from sosr_timm.checkpoints.run_folder import RunFolder
from sosr_timm.data.sources.source import SourceInfo
from sosr_timm.data.transforms.image import ImageFormat
from sosr_timm.errors import UserError, one_line
from sosr_timm.options.fields import options_of
from sosr_timm.options.load import build, check_values
from sosr_timm.options.train import ModelOptions, TrainOptions
from sosr_timm.options.validate import ValidateOptions
from sosr_timm.setup.image_format import check_format, image_format
from sosr_timm.setup.model import NO_LAYOUT, check_model_name, create_model, load_weights
from sosr_timm.setup.views import without_split_batch_norm


@dataclass
class StoredRun:
    """A run that was found on disk.

    Attributes:
        folder: of the run.
        checkpoint: in it.
        options: of the run.
        about: what run.json holds.
    """

    folder: RunFolder
    checkpoint: Path
    options: TrainOptions
    about: dict[str, Any]

    @property
    def info(self) -> SourceInfo:
        """What the run knew about its data: enough to build its model without the data."""
        return SourceInfo(num_classes=self.about["num_classes"], in_chans=self.about["image_format"]["channels"])


def find_run(path: str | None, which: str) -> StoredRun | None:
    """The run at a path, with its best or last checkpoint where the path names none; None where there is no run.

    Raises:
        UserError: a run without a complete checkpoint, or with a damaged one.
    """
    if not path or not Path(path).is_dir():
        return None
    resolved = Path(path).resolve()
    if (resolved / MANIFEST).is_file():
        folder, checkpoint = RunFolder(resolved.parent.parent), resolved
        if not folder.is_run:
            raise UserError(f"{path}: the checkpoint is not in a run folder")
        read_manifest_or_raise(checkpoint)
    elif RunFolder(resolved).is_run:
        folder = RunFolder(resolved)
        checkpoint = _choose(folder, which)
    else:
        return None
    stored, about = folder.read_about()
    if "program" in about:
        raise UserError(f"{folder.path} is a run of {about['program']}, not of train.py")
    if not isinstance(about.get("image_format"), dict) or "num_classes" not in about:
        raise UserError(f"{folder.about} has no image format or number of classes: it is damaged")
    options = build(TrainOptions, check_values(options_of(TrainOptions), stored, str(folder.options), ranges=False))
    return StoredRun(folder, checkpoint, options, about)


def _choose(folder: RunFolder, which: str) -> Path:
    link = folder.checkpoints / which
    if link.is_dir():
        checkpoint = link.resolve()
        read_manifest_or_raise(checkpoint)
        return checkpoint
    found, damaged = latest_complete(folder.checkpoints)
    if found is None:
        raise UserError(f"{folder.path} has no complete checkpoint" + (f" ({damaged[0]})" if damaged else ""))
    return found


def models_of_run(run: StoredRun, only_ema: bool) -> dict[str, nn.Module]:
    """The run's model with its weights and, where it kept an EMA, with that: by "weights" and "ema".

    Raises:
        UserError: the EMA is asked for and there is none, or the files are of another model.
    """
    files = {"weights": MODEL, "ema": EMA}
    files = {title: run.checkpoint / name for title, name in files.items() if (run.checkpoint / name).is_file()}
    if only_ema:
        if "ema" not in files:
            raise UserError(f"{run.checkpoint} has no EMA weights (the run had no --model-ema)")
        del files["weights"]
    models = {}
    for title, path in files.items():
        # The checkpoint holds every weight: nothing needs to be fetched.
        options = dataclasses.replace(run.options.model, pretrained=False, pretrained_path=None, initial_checkpoint="")
        model = create_model(options, run.info)
        try:
            model.load_state_dict(without_split_batch_norm(load_file(str(path))))
        except RuntimeError as error:
            raise UserError(f"{path}: not weights of {options.model} ({one_line(error)})") from None
        models[title] = model
    return models


def format_of_run(run: StoredRun, options: ValidateOptions) -> ImageFormat:
    """The format of the run's images, unless an option overrides it.

    Raises:
        UserError: options that do not fit the model's channels.
    """
    stored = {name: tuple(v) if isinstance(v, list) else v for name, v in run.about["image_format"].items()}
    try:
        form = ImageFormat(**stored)
    except TypeError as error:
        raise UserError(f"{run.folder.about}: {error}") from None
    data = options.data
    given: dict[str, Any] = {
        "crop_pct": data.crop_pct,
        "crop_mode": data.crop_mode,
        "mean": data.mean,
        "std": data.std,
        "interpolation": data.interpolation or None,
        "image_mode": data.input_img_mode,
    }
    if data.img_size is not None:
        given.update(height=data.img_size, width=data.img_size)
    if data.input_size is not None:
        given.update(zip(("channels", "height", "width"), data.input_size, strict=True))
    given = {name: value for name, value in given.items() if value is not None}
    if given.get("channels", form.channels) != form.channels:
        raise UserError(f"--input-size with {given['channels']} channels: the model of the run takes {form.channels}")
    for name in ("mean", "std"):
        if len(given.get(name, ())) == 1:
            given[name] = given[name] * form.channels
    form = dataclasses.replace(form, **given)
    check_format(form)
    return form


def model_by_name(options: ValidateOptions, info: SourceInfo, keep_head: bool = False) -> tuple[nn.Module, ImageFormat]:
    """A timm model with published weights or those of a file, and the format of its images.

    Args:
        options: of the evaluation; they name one model.
        info: of the data set.
        keep_head: the model keeps its own number of classes, of which the data set has a part.

    Raises:
        UserError: an unknown model, or weights that are missing, foreign, or of another number of classes.
    """
    chosen, data = options.model, options.data
    if chosen.use_ema and not chosen.checkpoint:
        raise UserError("--use-ema needs a run folder or a --checkpoint with EMA weights")
    check_model_name(chosen.model)
    pretrained = chosen.pretrained or (chosen.model.startswith(NO_LAYOUT) and not chosen.checkpoint)
    if not chosen.checkpoint and not pretrained:
        raise UserError(f"--model {chosen.model}: whose weights? Add --pretrained or --checkpoint FILE")
    own_classes = published_config(chosen.model).get("num_classes") if pretrained else None
    num_classes = chosen.num_classes
    if keep_head:
        info = dataclasses.replace(info, num_classes=None)
        num_classes = num_classes or own_classes
    model_options = ModelOptions(
        model=chosen.model,
        pretrained=pretrained and not chosen.checkpoint,
        num_classes=num_classes,
        in_chans=chosen.in_chans,
        gp=chosen.gp,
        img_size=data.img_size,
        input_size=data.input_size,
        crop_pct=data.crop_pct,
        crop_mode=data.crop_mode,
        mean=data.mean,
        std=data.std,
        interpolation=data.interpolation,
        model_kwargs=chosen.model_kwargs,
    )
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", UserWarning)
        model = create_model(model_options, info)
    if chosen.checkpoint:
        load_weights(model, chosen.checkpoint, chosen.use_ema)
    elif own_classes not in (None, model.num_classes):
        raise UserError(
            f"the weights of {chosen.model} have {own_classes} classes, the data set {model.num_classes}; "
            "--valid-labels names the part of the classes that a data set has"
        )
    return model, image_format(model_options, info, model, data.input_img_mode, not data.use_train_size)


def published_config(model: str) -> dict[str, Any]:
    """What the published weights of a model say of themselves, by timm's keys; empty where they cannot be asked."""
    try:
        return dict(resolve_model_input_args(model)["pretrained_cfg"])
    except (RuntimeError, OSError, TypeError, ValueError, AssertionError, AttributeError, KeyError):
        return {}  # creating the model will say what is wrong
