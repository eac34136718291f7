"""Predictions in a file: for each image its name, label and best guesses, and where they are few enough all logits."""

from __future__ import annotations

import csv
import zipfile
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from sosr_timm.data.sources.source import ImageSource
from sosr_timm.errors import UserError, reason_of
from sosr_timm.files import replacing
from sosr_timm.metrics.samples import Samples

MOST_LOGITS = 100_000_000  # 400 MB
FORMATS = (".npz", ".csv")


@dataclass(frozen=True)
class Predictions:
    """What a file of predictions holds.

    Attributes:
        samples: label, guesses, probabilities.
        subject: that made them.
        data: name of the images.
        fingerprint: of the images.
    """

    samples: Samples
    subject: str
    data: str
    fingerprint: str


def check_predictions_file(file: str) -> None:
    """Raise where a name is neither .npz nor .csv."""
    if file and Path(file).suffix not in FORMATS:
        raise UserError(f"--predictions {file}: call it .npz or .csv")


def with_suffix(path: Path, title: str, several: bool) -> Path:
    """The file of one set of weights, where there are several of them."""
    return path.with_name(f"{path.stem}_{title.replace(' ', '_')}{path.suffix}") if several else path


def write_predictions(path: Path, samples: Samples, source: ImageSource, subject: str, data: str) -> None:
    """Write predictions, whole or not at all: arrays (.npz, nothing pickled) or a table (.csv, without logits).

    Raises:
        UserError: the file cannot be written.
    """
    names = [source.name(index) for index in range(len(source))]
    try:
        with replacing(path) as temporary:
            if path.suffix == ".csv":
                _write_table(temporary, samples, names)
                return
            arrays = {
                "index": np.arange(len(names)),
                "name": np.array(names),
                "target": samples.target,
                "guesses": samples.guesses,
                "probabilities": samples.probabilities,
                "subject": np.array(subject),
                "data": np.array(data),
                "fingerprint": np.array(source.fingerprint()),
            }
            if samples.logits is not None:
                arrays["logits"] = samples.logits
            with open(temporary, "wb") as file:
                np.savez_compressed(file, **arrays)
    except OSError as error:
        raise UserError(f"--predictions {path} cannot be written ({reason_of(error)})") from None


def _write_table(path: Path, samples: Samples, names: list[str]) -> None:
    guesses = range(samples.guesses.shape[1])
    head = ["index", "name", "target", *(f"guess{k + 1}" for k in guesses), *(f"probability{k + 1}" for k in guesses)]
    columns = zip(names, samples.target.tolist(), samples.guesses.tolist(), samples.probabilities.tolist(), strict=True)
    with open(path, "w", newline="", encoding="utf-8") as file:
        writer = csv.writer(file, lineterminator="\n")
        writer.writerow(head)
        writer.writerows([index, name, target, *best, *p] for index, (name, target, best, p) in enumerate(columns))


def read_predictions(path: str) -> Predictions:
    """Predictions that `write_predictions` wrote as .npz.

    Raises:
        UserError: no such file, or not one of predictions.
    """
    try:
        with np.load(path, allow_pickle=False) as arrays:
            samples = Samples(arrays["target"], arrays["guesses"], arrays["probabilities"])
            about = [str(arrays[name]) for name in ("subject", "data", "fingerprint")]
    except (OSError, ValueError, KeyError, zipfile.BadZipFile) as error:
        reason = "no such file" if isinstance(error, FileNotFoundError) else f"no file of predictions ({error})"
        raise UserError(f"{path}: {reason}") from None
    if samples.target.ndim != 1 or samples.guesses.ndim != 2 or len(samples.guesses) != len(samples.target):
        raise UserError(f"{path}: no file of predictions (arrays of other shapes)")
    return Predictions(samples, *about)
