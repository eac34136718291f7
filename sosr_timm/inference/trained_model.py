"""A trained model that is ready for images of anyone: its weights, its preprocessing, its class names."""

from __future__ import annotations

import dataclasses
import json
from collections.abc import Sequence
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path

from timm.data import ImageNetInfo, infer_imagenet_subset
from timm.utils import reparameterize_model
from torch import nn

from sosr_timm.data.sources.class_map import read_class_map
from sosr_timm.data.sources.source import SourceInfo
from sosr_timm.data.transforms.image import ImageFormat
from sosr_timm.errors import UserError, one_line
from sosr_timm.options.inference import ExecutionOptions, TrainedModelOptions
from sosr_timm.options.task import is_multi_label
from sosr_timm.options.validate import EvaluatedModelOptions, EvaluationDataOptions, ValidateOptions
from sosr_timm.setup.model import NO_LAYOUT
from sosr_timm.setup.stored_run import (
    StoredRun,
    find_run,
    format_of_run,
    model_by_name,
    models_of_run,
    published_config,
)
from sosr_timm.validation.model_selection import name_of_run
from sosr_timm.validation.reports import RECORD

FITTED = "fitted"


@dataclass(frozen=True)
class TrainedModel:
    """A model with everything that its predictions need.

    Attributes:
        name: for messages and files: a run's model, loss and checkpoint, or the name in timm.
        module: (M, C, H, W) float32 -> (M, K) logits, on the CPU and in evaluation mode.
        image_format: what it is fed.
        class_names: K texts; numbers where no names are known.
        multi_label: classes are independent of each other, with a sigmoid each.
        temperature: that the logits are divided by before they become probabilities.
        run: that it comes from, or None.
    """

    name: str
    module: nn.Module
    image_format: ImageFormat
    class_names: tuple[str, ...]
    multi_label: bool
    temperature: float
    run: StoredRun | None


def as_evaluated(options: TrainedModelOptions, execution: ExecutionOptions | None = None) -> ValidateOptions:
    """The options that validate.py would have for the same model."""
    execution = execution or ExecutionOptions()
    chosen = EvaluatedModelOptions(
        model=options.model,
        pretrained=not options.checkpoint,
        checkpoint=options.checkpoint,
        which=options.which,
        use_ema=options.use_ema,
        num_classes=options.num_classes,
        in_chans=options.in_chans,
        model_kwargs=options.model_kwargs,
        amp=execution.amp,
        amp_dtype=execution.amp_dtype,
    )
    data = EvaluationDataOptions(
        img_size=options.img_size,
        input_size=options.input_size,
        crop_pct=options.crop_pct,
        crop_mode=options.crop_mode,
        mean=options.mean,
        std=options.std,
        interpolation=options.interpolation,
        input_img_mode=options.input_img_mode,
    )
    return ValidateOptions(chosen, data)


def find_trained_run(options: TrainedModelOptions) -> StoredRun | None:
    """The run that --model names; None where it names a timm model.

    Raises:
        UserError: no model is named, or a run that cannot be used or has no place for --checkpoint.
    """
    if not options.model:
        raise UserError("which model? Name a run folder, a checkpoint or a timm model with --model")
    run = find_run(options.model, options.which)
    if run is not None and options.checkpoint:
        raise UserError(
            f"--checkpoint is for a timm model; {options.model} is a run, so name its checkpoint as --model"
        )
    return run


def load_trained_model(options: TrainedModelOptions, run: StoredRun | None) -> TrainedModel:
    """The model that --model names.

    Args:
        options: that name it.
        run: of `find_trained_run`.

    Raises:
        UserError: an unknown model, weights that cannot be read or are of another model, or no such temperature.
    """
    if run is None:
        return _timm_model(options)
    title, module = next(iter(models_of_run(run, options.use_ema).items()))
    multi_label = is_multi_label(run.options.task)
    return TrainedModel(
        name_of_run(run),
        _ready(module, options),
        format_of_run(run, as_evaluated(options)),
        _class_names(options, run.about.get("class_names"), run.about["num_classes"]),
        multi_label,
        _temperature(options, run, title, multi_label),
        run,
    )


def _timm_model(options: TrainedModelOptions) -> TrainedModel:
    name = options.model
    path = Path(name)
    if not name.startswith(NO_LAYOUT) and path.exists():
        if (path / "config.json").is_file():
            name = f"local-dir:{path}"
        elif path.is_file():
            raise UserError(
                f"--model {name} is a file: give the model's name with --model and the file with --checkpoint"
            )
        else:
            raise UserError(f"--model {name}: neither a run folder nor a checkpoint, nor a directory in timm's format")
    if options.checkpoint and options.num_classes is None:
        raise UserError(f"--checkpoint {options.checkpoint}: give the number of its classes with --num-classes")
    if options.num_classes is not None and not options.checkpoint:
        raise UserError("--num-classes is for --checkpoint; published weights have their own number of classes")
    config = published_config(name)
    channels = (config.get("input_size") or (None,))[0]
    asked = as_evaluated(dataclasses.replace(options, model=name))
    module, form = model_by_name(asked, SourceInfo(in_chans=channels), keep_head=True)
    classes = module.num_classes
    known = config.get("label_names")
    if known is None and not options.checkpoint and config.get("num_classes") == classes:
        subset = infer_imagenet_subset(config)
        known = ImageNetInfo(subset).label_names() if subset else None
    if isinstance(known, dict):
        known = [known.get(number, known.get(str(number), str(number))) for number in range(classes)]
    names = _class_names(options, known, classes)
    temperature = _temperature(options, None, "", multi_label=False)
    return TrainedModel(options.model, _ready(module, options), form, names, False, temperature, None)


def _ready(module: nn.Module, options: TrainedModelOptions) -> nn.Module:
    return (reparameterize_model(module) if options.reparam else module).eval()


def _class_names(options: TrainedModelOptions, known: Sequence[str] | None, count: int) -> tuple[str, ...]:
    """A name for each class: of --class-map, else those that are known, WordNet's synsets in words."""
    if options.class_map:
        names = list(read_class_map(options.class_map, Path(".")))
        if len(names) != count:
            raise UserError(f"--class-map {options.class_map} names {len(names)} classes, the model has {count}")
        return tuple(names)
    names = [str(name) for name in known or ()]
    with suppress(KeyError):
        names = [ImageNetInfo().label_name_to_description(name) for name in names]
    # A head may have more classes than the data set had.
    return tuple(names[:count] + [str(number) for number in range(len(names), count)])


def _temperature(options: TrainedModelOptions, run: StoredRun | None, title: str, multi_label: bool) -> float:
    text = options.temperature
    if not text:
        return 1.0
    if multi_label:
        raise UserError("--temperature is for one class per image; this model was trained on many labels")
    try:
        number = float(text)
    except ValueError:
        number = _fitted_temperature(text, run, title)
    if not 0 < number < float("inf"):
        raise UserError(f"--temperature {text}: a number above 0")
    return number


def _fitted_temperature(text: str, run: StoredRun | None, title: str) -> float:
    if text != FITTED:
        path = Path(text)
    elif run is not None:
        path = run.folder.path / RECORD
    else:
        raise UserError("--temperature fitted is for a run; give a number, or the evaluation.json of validate.py")
    fit = (
        f"fit one with: validate.py {run.folder.path} --temperature 0.5"
        if run
        else "validate.py --temperature fits one"
    )
    if not path.is_file():
        raise UserError(f"--temperature {text}: {path} does not exist; {fit}")
    try:
        record = json.loads(path.read_text(encoding="utf-8"))
        subject, weights = str(record["subject"]), record["weights"]
        older = "average of weights" if title == "ema" else title  # as version 0.1 wrote it
        names = (title, older) if title else tuple(weights)
        metrics = next((weights[name] for name in names if name in weights), {})
        found = metrics.get("temperature")
    except (OSError, ValueError, KeyError, TypeError, AttributeError, StopIteration, RecursionError) as error:
        raise UserError(f"--temperature {text}: {path} is not an evaluation.json ({one_line(error)})") from None
    if found is None:
        raise UserError(f"--temperature {text}: {path} holds no temperature of these weights; {fit}")
    if run is not None and text == FITTED and subject.split()[-1] != run.checkpoint.name:
        raise UserError(
            f"--temperature {text}: {path} is about {subject.split()[-1]}, not {run.checkpoint.name}; "
            f"fit one with: validate.py {run.checkpoint} --temperature 0.5"
        )
    return float(found["temperature"])
