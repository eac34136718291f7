"""The images of a run, from its options: opened, checked against each other and over the processes."""

from __future__ import annotations

import copy
import dataclasses
from typing import Any

from sosr_timm.data.sources.catalog import open_source
from sosr_timm.data.sources.held_out import hold_out
from sosr_timm.data.sources.long_tail_and_noise import modify_training_set
from sosr_timm.data.sources.reader_options import ReaderOptions
from sosr_timm.data.sources.source import ImageSource, spread
from sosr_timm.distributed.processes import Processes
from sosr_timm.errors import UserError
from sosr_timm.options.train import DataOptions, ModelOptions


def open_sources(
    data: DataOptions, model: ModelOptions, processes: Processes, seed: int
) -> tuple[ImageSource, ImageSource | None]:
    """The training and the evaluation images; None for the latter where --val-split is empty, as in timm.

    Raises:
        UserError: data that is missing, splits with other classes, or a process that sees other files.
    """
    root = data.data or data.data_dir
    common = {"download": data.dataset_download, "class_map": data.class_map, "reading": reading(data, model)}
    if data.dataset_download and processes.count > 1:
        # One process downloads, the others find it done.
        if processes.is_main:
            open_source(data.dataset, root, data.train_split, **common)
        processes.wait()
    training = open_source(data.dataset, root, data.train_split, **common)
    evaluation: ImageSource | None = None
    if data.val_fraction is None and not data.val_split:
        pass
    elif data.val_fraction is None:
        evaluation = open_source(data.dataset, root, data.val_split, **common)
    elif data.val_split == DataOptions.val_split:
        training, evaluation = hold_out(training, data.val_fraction)
    else:
        raise UserError(f"--val-fraction {data.val_fraction:g} and --val-split '{data.val_split}': give one of them")
    training = spread(training, data.train_num_samples)
    evaluation = None if evaluation is None else spread(evaluation, data.val_num_samples)
    _check_classes(training, evaluation)
    fingerprints = training.fingerprint(), "" if evaluation is None else evaluation.fingerprint()
    if fingerprints[0] == fingerprints[1] and data.train_split != data.val_split:
        raise UserError(
            f"{root} has no splits: the same {len(training)} images would be trained and evaluated on. Hold out a part "
            f"with --val-fraction 0.1, or sort the images into {root}/train and {root}/validation; if you mean it, say "
            f"so with --val-split {data.train_split}"
        )
    if fingerprints[0] == fingerprints[1]:
        described = {**training.info.origin, "evaluation_is_training": True}
        training = copy.copy(training)  # others may hold the same source
        training.info = dataclasses.replace(training.info, origin=described)
    training = modify_training_set(training, seed, data.long_tail, data.label_noise)
    drawn = training.info.origin.get("labels_sha256", "")
    different = processes.same_everywhere(" ".join((*fingerprints, drawn)))
    if different:
        raise UserError(
            f"process {', '.join(map(str, different))} sees other files than process 0, which sees "
            f"{len(training)} training and {len(evaluation or ())} evaluation images"
        )
    return training, evaluation


def check_held_out(about: dict[str, Any], source: ImageSource) -> str | None:
    """How the part that --val-fraction holds out differs from the one that a run began with; None where it does not.

    Args:
        about: what run.json holds.
        source: either part of the training split.
    """
    then, now = about.get("data", {}), source.info.origin
    if then.get("held_out_sha256") == now.get("held_out_sha256"):
        return None
    return (
        f"--val-fraction {now['val_fraction']:g} holds out {now['held_out']:,} images, other ones than the "
        f"{then['held_out']:,} when the run began: images were added, removed or renamed"
    )


def reading(data: DataOptions, model: ModelOptions) -> ReaderOptions:
    """Which fields of the data set hold image and target."""
    return ReaderOptions(
        data.input_key, data.target_key, data.target_format or None, data.dataset_trust_remote_code, model.num_classes
    )


def _check_classes(training: ImageSource, evaluation: ImageSource | None) -> None:
    if evaluation is None:
        return
    ours, theirs = training.info.class_names, evaluation.info.class_names
    if ours is None or theirs is None or ours == theirs:
        return
    missing = sorted(set(ours) ^ set(theirs))
    if missing:
        place = "evaluation" if missing[0] in ours else "training"
        raise UserError(
            f"the splits have other classes ({len(ours)} in training, {len(theirs)} in evaluation): "
            f"'{missing[0]}' is missing in {place}"
        )
    raise UserError("the splits number their classes in another order")


def class_map_notes(class_map: str, origin: dict[str, Any]) -> list[str]:
    """What to say where a class map and a data set have different classes; nothing where they have the same.

    Args:
        class_map: path of the file.
        origin: of the data set, with what `compare_classes` found.
    """
    found = origin.get("class_map")
    if not found:
        return []
    first = iter(found["first"])
    notes = []
    if found["left_out"]:
        notes.append(f"class map {class_map}: left out are {found['left_out']:,} classes, the first is '{next(first)}'")
    if found["without_images"]:
        count = found["without_images"]
        notes.append(f"class map {class_map}: {count:,} of its classes have no image, the first is '{next(first)}'")
    return notes
