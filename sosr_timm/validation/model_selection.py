"""What is to be evaluated: one run or model, or all models of a pattern, a list or a file of names."""

from __future__ import annotations

from dataclasses import dataclass, replace
from pathlib import Path

import timm
from timm.utils import natural_key

from sosr_timm.errors import UserError
from sosr_timm.options.validate import ValidateOptions
from sosr_timm.registry import close_names
from sosr_timm.setup.model import NO_LAYOUT, check_model_name
from sosr_timm.setup.stored_run import StoredRun

WEIGHT_FILES = (".safetensors", ".pth", ".pth.tar", ".pt")


@dataclass
class EvaluatedModel:
    """One thing to evaluate.

    Attributes:
        name: as the results name it.
        options: with the model and weights of just this one.
        run: that it comes from, or None.
    """

    name: str
    options: ValidateOptions
    run: StoredRun | None = None


def name_of_run(run: StoredRun) -> str:
    """Model, loss and checkpoint of a run."""
    return f"{run.options.model.model} {run.about.get('loss', '')} {run.checkpoint.name}"


def is_list(options: ValidateOptions) -> bool:
    """Whether the options name several models, so that the failure of one must not lose the others."""
    model = options.model.model or ""
    several = model == "all" or _is_pattern(model) or "," in model or _is_file_of_names(model)
    return several or Path(options.model.checkpoint or "?").is_dir()


def find_models(options: ValidateOptions, run: StoredRun | None, num_classes: int | None) -> list[EvaluatedModel]:
    """Everything that the options name, in order.

    Args:
        options: of the evaluation.
        run: that they name, or None.
        num_classes: of the data set, for what 'all' means; None where it does not say.

    Raises:
        UserError: nothing is named, two things are, a name or pattern that timm does not know.
    """
    chosen = options.model
    if run is not None and chosen.model:
        raise UserError(f"two things to evaluate: the run {chosen.run} and --model {chosen.model}")
    if run is not None:
        _refuse_what_the_run_states(options, run)
        return [EvaluatedModel(name_of_run(run), options, run)]
    if chosen.model is None:
        named = chosen.run
        if named and Path(named).is_file():
            raise UserError(f"{named} does not say which model its weights are of: --model NAME --checkpoint {named}")
        if named and not Path(named).is_dir():
            raise UserError(f"{named}: no such run folder, checkpoint or data directory")
        raise UserError(f"{named or 'nothing to evaluate'}: name a run folder, a checkpoint, or a model with --model")
    if not is_list(options):
        return [EvaluatedModel(chosen.model, options)]
    names = _names(chosen.model, num_classes)
    if chosen.checkpoint:
        return _with_each_checkpoint(names, options)
    return [EvaluatedModel(name, _specialised(options, model=name, pretrained=True)) for name in names]


def _refuse_what_the_run_states(options: ValidateOptions, run: StoredRun) -> None:
    """Raise where an option asks for another model than the run's."""
    model, classes = options.model, run.about["num_classes"]
    given = {
        "--pretrained": model.pretrained,
        "--checkpoint": model.checkpoint,
        "--in-chans": model.in_chans is not None,
        "--num-classes": model.num_classes not in (None, classes),
        "--gp": model.gp is not None,
        "--model-kwargs": model.model_kwargs,
        "--use-train-size": options.data.use_train_size,
    }
    flag = next((flag for flag, is_given in given.items() if is_given), None)
    if flag:
        raise UserError(f"{flag} is for --model; the run {run.folder.path} states its model")


def _specialised(options: ValidateOptions, **changes: object) -> ValidateOptions:
    return replace(options, model=replace(options.model, **changes))


def _with_each_checkpoint(names: list[str], options: ValidateOptions) -> list[EvaluatedModel]:
    """One model with every file of weights in a directory, in natural order of their names."""
    folder = Path(options.model.checkpoint)
    if len(names) > 1 or not folder.is_dir():
        raise UserError(f"--checkpoint {folder} holds the weights of one model, and --model names {len(names)}")
    files = [path for path in folder.iterdir() if path.is_file() and path.name.endswith(WEIGHT_FILES)]
    if not files:
        raise UserError(f"--checkpoint {folder} holds no weights ({', '.join(WEIGHT_FILES)})")
    files.sort(key=lambda path: natural_key(path.name))
    return [EvaluatedModel(names[0], _specialised(options, model=names[0], checkpoint=str(path))) for path in files]


def _is_pattern(name: str) -> bool:
    return any(character in name for character in "*?[") and not name.startswith(NO_LAYOUT)


def _is_file_of_names(name: str) -> bool:
    return Path(name).is_file() and not timm.is_model(name.partition(".")[0])


def _names(text: str, num_classes: int | None) -> list[str]:
    """The models that a value of --model names, each once."""
    if _is_file_of_names(text):
        parts = _read_names(Path(text))
    else:
        parts = {f"--model {text}": [part for part in map(str.strip, text.split(",")) if part]}
    names: list[str] = []
    for where, found in parts.items():
        for name in found:
            names += _expand(name, num_classes, where)
    if not names:
        raise UserError(f"--model {text} names no model")
    return list(dict.fromkeys(names))


def _read_names(path: Path) -> dict[str, list[str]]:
    """The names in a text file by their line; empty lines and lines that start with # are ignored."""
    try:
        lines = path.read_text(encoding="utf-8").splitlines()
    except (OSError, ValueError) as error:
        raise UserError(f"--model {path}: cannot be read ({error})") from None
    named = {number: line.strip() for number, line in enumerate(lines, start=1)}
    return {f"{path}, line {number}": [name] for number, name in named.items() if name and name[0] != "#"}


def _expand(name: str, num_classes: int | None, where: str) -> list[str]:
    if name == "all":
        found = timm.list_models(pretrained=True)
        return [one for one in found if num_classes in (None, timm.get_pretrained_cfg(one).num_classes)]
    if not _is_pattern(name):
        try:
            check_model_name(name)
        except UserError as error:
            raise UserError(f"{where}: {error}") from None
        return [name]
    found = timm.list_models(name, pretrained=True)
    if found:
        return found
    without = [model for model in timm.list_models(name) if not timm.is_model_pretrained(model)]
    if without:
        raise UserError(f"{where}: none of the models like '{name}' ({', '.join(without[:3])}) has published weights")
    near = close_names(name.strip("*"), timm.list_models(pretrained=True, include_tags=False))
    raise UserError(f"{where}: no model is like '{name}'{': ' + near if near.startswith('did') else ''}")
