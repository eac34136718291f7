"""Predictions in a file: each image's name, label, best guesses and scores, where they are few all logits."""

from __future__ import annotations

import csv
import zipfile
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from sosr_timm.data.sources.source import ImageSource
from sosr_timm.errors import UserError
from sosr_timm.files import must_write, replacing
from sosr_timm.metrics.confidence import P_NORM
from sosr_timm.metrics.samples import Samples

MOST_LOGITS = 100_000_000  # 400 MB
SCORE = "score_"  # before the name of a score in a file
FORMATS = (".npz", ".csv")


@dataclass(frozen=True)
class Predictions:
    """What a file of predictions holds.

    Attributes:
        samples: label, guesses, probabilities.
        model: that made them.
        data: name of the images.
        fingerprint: of the images.
    """

    samples: Samples
    model: str
    data: str
    fingerprint: str


def check_predictions_file(file: str) -> None:
    """Raise where a name is neither .npz nor .csv."""
    if file and Path(file).suffix not in FORMATS:
        raise UserError(f"--predictions {file}: the name must end in .npz or .csv")


def path_of(path: Path, weights: str, several: bool) -> Path:
    """The file of a set of weights: the path given, or for the EMA beside the model `NAME_ema`."""
    return path.with_name(f"{path.stem}_ema{path.suffix}") if several and weights == "ema" else path


def write_predictions(
    path: Path,
    samples: Samples,
    source: ImageSource,
    about: dict[str, str],
    class_names: Sequence[str] | None = None,
    p_norm: float = P_NORM,
) -> None:
    """Write predictions, completely or not at all: arrays (.npz, nothing pickled) or a table (.csv, without logits).

    Args:
        path: of the file.
        samples: the predictions.
        source: of the images.
        about: "subject", the model, and "data", the images.
        class_names: by number; written beside the numbers.
        p_norm: p of the confidence `p_norm`.

    Raises:
        UserError: the file cannot be written.
    """
    names = [source.name(index) for index in range(len(source))]
    with must_write(f"--predictions {path}"), replacing(path) as temporary:
        if path.suffix == ".csv":
            _write_table(temporary, samples, names, class_names)
            return
        arrays = {
            "index": np.arange(len(names)),
            "name": np.array(names),
            "target": samples.target,
            "guesses": samples.guesses,
            "probabilities": samples.probabilities,
            **{f"{SCORE}{name}": values for name, values in samples.scores.items()},
            "p_norm": np.array(p_norm),
            **{name: np.array(text) for name, text in about.items()},
            "fingerprint": np.array(source.fingerprint()),
        }
        if class_names is not None:
            arrays["class_names"] = np.array(class_names)
        if samples.logits is not None:
            arrays["logits"] = samples.logits
        with open(temporary, "wb") as file:
            np.savez_compressed(file, **arrays)


def _write_table(path: Path, samples: Samples, names: list[str], class_names: Sequence[str] | None) -> None:
    ranks = range(1, samples.guesses.shape[1] + 1)
    columns = {"index": range(len(names)), "name": names, "target": samples.target.tolist()}
    columns |= {f"guess{rank}": samples.guesses[:, rank - 1].tolist() for rank in ranks}
    columns |= {f"probability{rank}": samples.probabilities[:, rank - 1].tolist() for rank in ranks}
    if class_names is not None:
        for column in ("target", *(f"guess{rank}" for rank in ranks)):
            columns[f"{column}_name"] = [class_names[number] for number in columns[column]]
    with open(path, "w", newline="", encoding="utf-8") as file:
        writer = csv.writer(file, lineterminator="\n")
        writer.writerow(columns)
        writer.writerows(zip(*columns.values(), strict=True))


def read_predictions(path: str) -> Predictions:
    """Predictions that `write_predictions` wrote as .npz.

    Raises:
        UserError: no such file, or not one of predictions.
    """
    try:
        with np.load(path, allow_pickle=False) as arrays:
            scores = {name.removeprefix(SCORE): arrays[name] for name in arrays.files if name.startswith(SCORE)}
            logits = arrays["logits"] if "logits" in arrays.files else None
            samples = Samples(arrays["target"], arrays["guesses"], arrays["probabilities"], logits, scores)
            about = [str(arrays[name]) for name in ("subject", "data", "fingerprint")]
    except (OSError, ValueError, KeyError, zipfile.BadZipFile) as error:
        reason = "no such file" if isinstance(error, FileNotFoundError) else f"not a file of predictions ({error})"
        raise UserError(f"{path}: {reason}") from None
    lengths = {len(samples.target), len(samples.guesses), *map(len, samples.scores.values())}
    if samples.target.ndim != 1 or samples.guesses.ndim != 2 or len(lengths) > 1:
        raise UserError(f"{path}: not a file of predictions (arrays of other shapes)")
    return Predictions(samples, *about)
