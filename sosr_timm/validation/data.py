"""The images and classes of an evaluation, as its options or else its run say."""

from __future__ import annotations

from dataclasses import dataclass

from sosr_timm.data.sources.allowed_classes import read_allowed_classes
from sosr_timm.data.sources.catalog import open_source
from sosr_timm.data.sources.held_out import hold_out
from sosr_timm.data.sources.names import EVALUATION_SPLITS
from sosr_timm.data.sources.reader_options import ReaderOptions
from sosr_timm.data.sources.real_labels import read_real_labels
from sosr_timm.data.sources.source import ImageSource, SourceInfo, spread
from sosr_timm.errors import UserError
from sosr_timm.options.validate import ValidateOptions
from sosr_timm.setup.datasets import check_held_out
from sosr_timm.setup.datasets import reading as stored_reading
from sosr_timm.setup.stored_run import StoredRun
from sosr_timm.tracking.console import logger

# What means the part that --val-fraction holds out; a test split is another one.
HELD_OUT_SPLITS = tuple(name for name in EVALUATION_SPLITS if name != "test")


def evaluation_source(options: ValidateOptions, run: StoredRun | None) -> ImageSource:
    """The images: as the options say, else as the run's options say."""
    data = options.data
    dataset, root, split, class_map = data.dataset, data.data_dir, data.split, data.class_map
    count, fraction, train_split = data.num_samples, data.val_fraction, "train"
    of_run = run is not None and not (dataset or root)
    reading = ReaderOptions(
        data.input_key,
        data.target_key,
        data.target_format or None,
        data.dataset_trust_remote_code,
        options.model.num_classes,
    )
    if run is None:
        root = root or options.model.run
    elif of_run:
        stored = run.options.data
        dataset, root, class_map = stored.dataset, stored.data or stored.data_dir, class_map or stored.class_map
        fraction, train_split = stored.val_fraction if fraction is None else fraction, stored.train_split
        split = stored.val_split or split if split == "validation" else split
        count = stored.val_num_samples if count is None else count
        reading = reading.otherwise(stored_reading(stored, run.options.model))

    def opened(name: str) -> ImageSource:
        return open_source(dataset, root, name, download=data.dataset_download, class_map=class_map, reading=reading)

    if fraction is None or split not in (*HELD_OUT_SPLITS, train_split):
        return spread(opened(split), count)
    rest, held_out = hold_out(opened(train_split), fraction)
    change = check_held_out(run.about, held_out) if of_run and fraction == run.options.data.val_fraction else None
    if change:
        logger.warning("%s", change)
    return spread(rest if split == train_split else held_out, count)


def data_name(options: ValidateOptions, run: StoredRun | None) -> str:
    """What to call the images."""
    named = options.data.dataset or options.data.data_dir
    if named:
        return named
    if run is None:
        return str(options.model.run)
    stored = run.options.data
    return stored.dataset or str(stored.data or stored.data_dir)


@dataclass(frozen=True)
class Classes:
    """Which classes are guessed.

    Attributes:
        count: K of the predictions.
        allowed: classes of the model that may be guessed; None: all.
        renumbered: labels and guesses count the allowed classes only.
    """

    count: int
    allowed: list[int] | None
    renumbered: bool


def choose_classes(
    options: ValidateOptions, info: SourceInfo, model_classes: int, trained_classes: int | None = None
) -> Classes:
    """The classes that may be guessed.

    Args:
        options: of the evaluation.
        info: of the data set.
        model_classes: outputs of the model.
        trained_classes: of the data set that a run was trained on; None where that is not known.

    Raises:
        UserError: the data set has other classes than the model, or a damaged --valid-labels.
    """
    data, found = options.data, info.num_classes
    if not data.valid_labels:
        # A model may have more outputs than its data set has classes; another data set with fewer needs to be meant.
        meant = found == trained_classes or options.model.num_classes == model_classes
        fewer = found is not None and found < model_classes and meant and not info.multi_hot
        if found not in (None, model_classes) and not fewer:
            raise UserError(f"the model has {model_classes} classes, the data set {found}")
        return Classes(model_classes, None, False)
    allowed = read_allowed_classes(data.valid_labels, model_classes, info.class_names if data.class_map else None)
    if not data.class_map and found in (None, len(allowed)):
        return Classes(len(allowed), allowed, True)
    if found != model_classes:
        raise UserError(
            f"--valid-labels {data.valid_labels} names {len(allowed)} classes and the model has {model_classes}; "
            f"the data set has {found}, which is neither"
        )
    return Classes(model_classes, allowed, False)


def real_labels_of(options: ValidateOptions, source: ImageSource, classes: Classes) -> list[frozenset[int]] | None:
    """The reassessed labels of the images, where they are asked for.

    Raises:
        UserError: a damaged file, or images that are not ImageNet's.
    """
    if not options.data.real_labels:
        return None
    if classes.renumbered:
        raise UserError("--real-labels counts all of ImageNet's classes, --valid-labels only a part of them")
    names = [source.name(index) for index in range(len(source))]
    return read_real_labels(options.data.real_labels, names, classes.count)
