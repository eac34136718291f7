"""Predictions as CSV or JSON, in a file or on standard output."""

from __future__ import annotations

import csv
import io
import json
import os
import sys
from dataclasses import asdict
from pathlib import Path
from typing import TYPE_CHECKING, Any

from sosr_timm.errors import UserError, reason_of
from sosr_timm.files import write_text
from sosr_timm.inference.trained_model import TrainedModel
from sosr_timm.inference.unlabelled import UnlabelledImages

if TYPE_CHECKING:
    from sosr_timm.inference.predict import ImagePredictions

FORMATS = {".csv": "csv", ".json": "json"}


def check_output(output: str, given: str | None) -> str:
    """The format of the output: as given, else by the file's name, else CSV.

    Raises:
        UserError: a file whose name does not say its format.
    """
    found = given or (FORMATS.get(Path(output).suffix.lower()) if output else "csv")
    if found is None:
        raise UserError(f"--output {output}: call it .csv or .json, or add --format")
    return found


def write_output(
    output: str, form: str, model: TrainedModel, images: UnlabelledImages, predictions: ImagePredictions
) -> None:
    """Write predictions into a file in one step, or to standard output.

    Raises:
        UserError: the file cannot be written.
    """
    text = (_csv if form == "csv" else _json)(model, images, predictions)
    if output:
        try:
            write_text(output, text)
        except OSError as error:
            raise UserError(f"--output {output} cannot be written ({reason_of(error)})") from None
        return
    try:
        sys.stdout.write(text)
        sys.stdout.flush()
    except BrokenPipeError:  # the reader, such as `head`, has seen enough
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())


def _csv(model: TrainedModel, images: UnlabelledImages, predictions: ImagePredictions) -> str:
    """A row for each image: path, then name, number and probability of each class, then why it cannot be read."""
    ranks = range(1, predictions.classes.shape[1] + 1)
    text = io.StringIO()
    writer = csv.writer(text, lineterminator="\n")
    writer.writerow(
        ["path", *(f"{word}{rank}" for rank in ranks for word in ("class", "index", "probability")), "error"]
    )
    for index in range(len(images)):
        row: list[Any] = [images.name(index)]
        error = predictions.unreadable.get(index)
        for number, probability in _ranked(predictions, index):
            row += [""] * 3 if error else [model.class_names[number], number, f"{probability:.6g}"]
        writer.writerow([*row, error or ""])
    return text.getvalue()


def _json(model: TrainedModel, images: UnlabelledImages, predictions: ImagePredictions) -> str:
    found = []
    for index in range(len(images)):
        image: dict[str, Any] = {"path": images.name(index)}
        if index in predictions.unreadable:
            image["error"] = predictions.unreadable[index]
        else:
            image["classes"] = [
                {"class": model.class_names[number], "index": number, "probability": probability}
                for number, probability in _ranked(predictions, index)
            ]
        found.append(image)
    record = {
        "model": model.name,
        "temperature": model.temperature,
        "probabilities": "sigmoid" if model.multi_label else "softmax",
        "image_format": asdict(model.image_format),
        "images": found,
    }
    return json.dumps(record, indent=2, ensure_ascii=False, allow_nan=False) + "\n"


def _ranked(predictions: ImagePredictions, index: int) -> list[tuple[int, float]]:
    return list(zip(predictions.classes[index].tolist(), predictions.probabilities[index].tolist(), strict=True))
