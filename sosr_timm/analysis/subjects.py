"""The runs and models that an analysis looks at: selected as validate.py selects them."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from torch import nn

from sosr_timm.analysis.registry import AnalyzeOptions
from sosr_timm.data.sources.source import ImageSource
from sosr_timm.data.transforms.image import ImageFormat
from sosr_timm.errors import UserError
from sosr_timm.options.fields import TRAINING, options_of
from sosr_timm.options.load import flatten
from sosr_timm.options.task import loss_text
from sosr_timm.options.train import TrainOptions
from sosr_timm.options.validate import EvaluatedModelOptions, ValidateOptions
from sosr_timm.setup.model import NO_LAYOUT, check_model_name
from sosr_timm.setup.stored_run import StoredRun, find_run, format_of_run, model_by_name, models_of_run
from sosr_timm.validation.data import evaluation_source
from sosr_timm.validation.model_selection import name_of_run


@dataclass
class Subject:
    """One of the runs and models.

    Attributes:
        title: what plots and tables call it.
        name: in full: model, loss and checkpoint of a run, or the model's name.
        options: validate.py's, that select it.
        run: that it comes from; None for a timm model.
    """

    title: str
    name: str
    options: ValidateOptions
    run: StoredRun | None = None

    def source(self, **changes: Any) -> ImageSource:
        """The images: as the options say, else as the run's options say.

        Args:
            **changes: of the data options, such as `split="train"`.
        """
        options = replace(self.options, data=replace(self.options.data, **changes))
        if self.run is None and not (options.data.dataset or options.data.data_dir):
            raise UserError(f"{self.title}: which images? A model without a run needs --dataset or --data-dir")
        return evaluation_source(options, self.run)

    def model(self, source: ImageSource) -> tuple[nn.Module, ImageFormat]:
        """The model with its weights, on the CPU, and the format of its images.

        Args:
            source: of the images, whose classes and channels a timm model is created for.
        """
        if self.run is not None:
            models = models_of_run(self.run, self.options.model.use_ema)
            return next(iter(models.values())), format_of_run(self.run, self.options)
        return model_by_name(self.options, source.info, keep_head=bool(self.options.data.valid_labels))


def find_subjects(options: AnalyzeOptions, joins_seeds: bool = False) -> list[Subject]:
    """What the command line names, in its order.

    Args:
        options: of the command line.
        joins_seeds: runs that differ in their seed alone may share a title; else every title is given once.

    Raises:
        UserError: nothing is named, something that cannot be analysed, another number of titles, or one title for
            several runs.
    """
    names, titles = options.model.runs, options.report.titles
    if not names:
        raise UserError("analyse what? Name run folders, checkpoints or timm models")
    if titles and len(titles) != len(names):
        raise UserError(f"--titles has {len(titles)} titles for {len(names)} runs")
    found = [_subject(name, options) for name in names]
    if titles:
        return _titled(found, titles, joins_seeds)
    kinds = len({key_of(one) for one in found}) if joins_seeds else len(found)
    for make in (_loss_of, _model_and_loss_of, _folder_of):
        named = [make(one) for one in found]
        if len(set(named)) == kinds:
            break
    return _titled(found, named, joins_seeds)


def _titled(found: list[Subject], titles: Sequence[str], joins_seeds: bool) -> list[Subject]:
    twice = next((title for title in titles if list(titles).count(title) > 1), None)
    if twice is not None and not joins_seeds:
        raise UserError(f"two runs are called {twice}: tell them apart with --titles")
    return [replace(one, title=title) for one, title in zip(found, titles, strict=True)]


def _subject(name: str, options: AnalyzeOptions) -> Subject:
    chosen = options.model
    common = EvaluatedModelOptions(
        which=chosen.which,
        use_ema=chosen.use_ema,
        num_classes=chosen.num_classes,
        channels_last=chosen.channels_last,
        amp=chosen.amp,
        amp_dtype=chosen.amp_dtype,
        model_dtype=chosen.model_dtype,
        device=chosen.device,
    )
    run = find_run(name, chosen.which)
    if run is not None:
        if chosen.checkpoint or chosen.in_chans or chosen.gp or chosen.model_kwargs:
            raise UserError(f"--checkpoint, --in-chans, --gp and --model-kwargs are for timm models; {name} is a run")
        return Subject(name, name_of_run(run), ValidateOptions(replace(common, run=name), options.data), run)
    if not name.startswith(NO_LAYOUT) and Path(name).exists():
        raise UserError(
            f"{name}: neither a run folder nor a checkpoint; a directory in timm's format is local-dir:PATH"
        )
    try:
        check_model_name(name)
    except UserError as error:
        raise UserError(f"{name}: no such run folder, and {error}") from None
    model = replace(
        common,
        model=name,
        pretrained=not chosen.checkpoint,
        checkpoint=chosen.checkpoint,
        in_chans=chosen.in_chans,
        gp=chosen.gp,
        model_kwargs=chosen.model_kwargs,
    )
    return Subject(name, name, ValidateOptions(model, options.data))


def key_of(subject: Subject) -> tuple:
    """What runs have in common that differ in nothing but their seed."""
    if subject.run is None:
        return (subject.name,)
    values = flatten(subject.run.options)
    kept = [name for name, option in options_of(TrainOptions).items() if option.scope == TRAINING and name != "seed"]
    return (subject.run.about.get("loss"), *(repr(values[name]) for name in kept))


def by_seed(subjects: list[Subject]) -> dict[str, list[Subject]]:
    """The subjects by their title, those that differ in nothing but their seed together.

    Raises:
        UserError: one title for runs of different options.
    """
    groups: dict[str, list[Subject]] = {}
    for subject in subjects:
        groups.setdefault(subject.title, []).append(subject)
    for title, members in groups.items():
        if len({key_of(member) for member in members}) > 1:
            raise UserError(f"--titles: '{title}' is given to runs that differ in more than their seed")
    return groups


def _of_run(make: Callable[[StoredRun], str]) -> Callable[[Subject], str]:
    return lambda subject: subject.name if subject.run is None else make(subject.run)


_loss_of = _of_run(lambda run: loss_text(run.options.loss, run.options.task))
_model_and_loss_of = _of_run(lambda run: f"{run.options.model.model} {loss_text(run.options.loss, run.options.task)}")
_folder_of = _of_run(lambda run: run.folder.path.name)
