"""Classes and probabilities of new images: `sosr-predict` from its options to its output."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass

import numpy as np
import torch
from torch import Tensor, nn
from torch.utils.data import Dataset

from sosr_timm.data.loaders.batch import Batch, Unreadable
from sosr_timm.data.loaders.worker_loader import UNREADABLE, evaluation_loader, load_in_mode
from sosr_timm.data.order.order import EvaluationOrder
from sosr_timm.data.sources.source import ImageSource
from sosr_timm.data.transforms.image import ImageFormat, evaluation_transform
from sosr_timm.data.transforms.normalize import BYTE_MODES, Normalization
from sosr_timm.distributed.processes import Processes, start_processes
from sosr_timm.errors import UserError, one_line
from sosr_timm.inference.prediction_files import check_output, write_output
from sosr_timm.inference.trained_model import TrainedModel, as_evaluated, find_trained_run, load_trained_model
from sosr_timm.inference.unlabelled import NO_LABEL, UnlabelledImages, find_images
from sosr_timm.metrics.calibration import in_float64
from sosr_timm.options.inference import ExecutionOptions, PredictOptions
from sosr_timm.options.load import Loaded
from sosr_timm.options.validate import EvaluatedModelOptions
from sosr_timm.setup.stored_run import StoredRun
from sosr_timm.tracking.console import logger, show_log
from sosr_timm.training.evaluate import to_device
from sosr_timm.validation.collective_errors import together
from sosr_timm.validation.inference_model import place
from sosr_timm.validation.main import precision_of
from sosr_timm.validation.measure import Progress
from sosr_timm.validation.retry import with_smaller_batches

NAMED = 20  # unreadable images that are named in the log


@dataclass(frozen=True)
class ImagePredictions:
    """The most probable classes of each image.

    Attributes:
        classes: (N, k) int64, the most probable first; -1 where the image cannot be read.
        probabilities: (N, k) float64; NaN where the image cannot be read.
        unreadable: position -> why the image cannot be read.
    """

    classes: np.ndarray
    probabilities: np.ndarray
    unreadable: dict[int, str]


def run_prediction(loaded: Loaded[PredictOptions]) -> int:
    """Predict as the options say.

    Standard output holds nothing but predictions; messages and progress go to standard error.

    Returns:
        0; images that cannot be read are named, in the output too.

    Raises:
        UserError: anything that the user can fix; nothing is written then. No image can be read, among others.
    """
    options = loaded.options
    prediction = options.prediction
    if not prediction.paths:
        raise UserError("predict what? Name images, directories, archives (.zip, .tar) or lists of paths (.txt, or -)")
    form = check_output(prediction.output, prediction.format)
    run = find_trained_run(options.model)
    processes = _start(options, run)
    if processes.count > 1 and "-" in prediction.paths:
        raise UserError("a list on standard input reaches one process only: write it into a text file")
    images = find_images(prediction.paths, prediction.input_key)
    different = processes.same_everywhere(images.fingerprint())
    if different:
        raise UserError(f"process {', '.join(map(str, different))} sees other images than process 0")
    model = load_trained_model(options.model, run)
    predictions = predict(model, images, options.execution, processes, prediction.topk)
    if len(predictions.unreadable) == len(images):
        raise UserError(
            f"none of {len(images):,} images can be read, the first is {images.name(0)} ({predictions.unreadable[0]})"
        )
    if not processes.is_main:
        return 0
    _name_unreadable(predictions, images)
    write_output(prediction.output, form, model, images, predictions)
    if prediction.output:
        logger.info("%s images predicted by %s, written to %s", f"{len(images):,}", model.name, prediction.output)
    return 0


def _start(options: PredictOptions, run: StoredRun | None) -> Processes:
    execution = options.execution
    amp, amp_dtype = precision_of(as_evaluated(options.model, execution).model, [run] if run else [])
    processes = start_processes(amp=amp, amp_dtype=amp_dtype, expected=execution.num_processes, device=execution.device)
    show_log(processes.is_main, to_stderr=True)
    return processes


def _name_unreadable(predictions: ImagePredictions, images: UnlabelledImages) -> None:
    found = predictions.unreadable
    for index in list(found)[:NAMED]:
        logger.warning("%s cannot be read (%s)", images.name(index), found[index])
    if len(found) > NAMED:
        logger.warning("... and %s more images cannot be read", f"{len(found) - NAMED:,}")


class _PredictionBatches(Dataset):
    """Batches by number; a black image takes the place of one that cannot be read, so that batches keep their size."""

    def __init__(self, source: ImageSource, form: ImageFormat, as_bytes: bool, order: EvaluationOrder):
        self.source, self.form, self.order = source, form, order
        self.transform = evaluation_transform(form, as_bytes=as_bytes)
        self.nothing = torch.zeros(form.input_size, dtype=torch.uint8 if as_bytes else torch.float32)

    def __getitem__(self, batch: int) -> Batch:
        images, unreadable = [], []
        for index in self.order.indices(batch):
            try:
                images.append(self.transform(load_in_mode(self.source, index, self.form.image_mode)[0]))
            except UNREADABLE as error:
                images.append(self.nothing)
                unreadable.append(Unreadable(index, self.source.name(index), one_line(error)))
        return Batch(batch, torch.stack(images), torch.full((len(images),), NO_LABEL), tuple(unreadable))


def predict(
    model: TrainedModel, images: UnlabelledImages, execution: ExecutionOptions, processes: Processes, topk: int
) -> ImagePredictions:
    """The most probable classes of each image, the same for any number of processes.

    Args:
        model: that predicts.
        images: by index.
        execution: batch size, loader processes, memory layout.
        processes: that share the images.
        topk: how many classes of each image; 0: all.

    Raises:
        UserError: logits that are not finite, or too little memory for a single image.
    """
    chosen = EvaluatedModelOptions(channels_last=execution.channels_last)
    module, form = together(processes, lambda: place(model.module, model.image_format, chosen, processes.device))
    reasons: dict[int, str] = {}
    k = min(topk or len(model.class_names), len(model.class_names))

    def one_pass(batch_size: int) -> Tensor:
        reasons.clear()
        order = EvaluationOrder(len(images), batch_size, processes.count, processes.rank)
        loader = _make_loader(images, form, order, execution.workers, processes.device)
        progress = Progress("images", len(order), processes, execution.log_freq)
        try:
            return together(
                processes,
                lambda: _predict_part(
                    model, module, progress.stopwatch.watch(loader), order, processes, k, reasons, progress
                ),
            )
        finally:
            progress.bar.close()

    rows, _ = with_smaller_batches(one_pass, execution.batch_size, retry=True)
    rows = processes.sum(rows).cpu().numpy().astype(np.float64)
    classes, probabilities = rows[:, 1 : 1 + k].astype(np.int64), rows[:, 1 + k :]
    bad = np.flatnonzero(rows[:, 0])
    classes[bad], probabilities[bad] = NO_LABEL, np.nan
    _check_finite(model, images, probabilities, bad)
    unreadable = {int(index): reasons.get(int(index)) or _reason(images, int(index)) for index in bad}
    return ImagePredictions(classes, probabilities, unreadable)


def _make_loader(
    images: UnlabelledImages, form: ImageFormat, order: EvaluationOrder, workers: int, device: torch.device
) -> Iterable[Batch]:
    as_bytes = form.image_mode in BYTE_MODES
    batches = _PredictionBatches(images, form, as_bytes, order)
    return evaluation_loader(batches, workers, device.type == "cuda", Normalization(form, device) if as_bytes else None)


@torch.no_grad()
def _predict_part(
    model: TrainedModel,
    module: nn.Module,
    batches: Iterable[Batch],
    order: EvaluationOrder,
    processes: Processes,
    k: int,
    reasons: dict[int, str],
    progress: Progress,
) -> Tensor:
    """This process's rows, (N, 1 + 2 k), zeros elsewhere: unreadable, k classes, k probabilities."""
    dtype = torch.float32 if processes.device.type == "mps" else torch.float64
    rows = torch.zeros(order.num_samples, 1 + 2 * k, dtype=dtype, device=processes.device)
    for batch in batches:
        images = to_device(batch.images, processes.device, False, torch.float32)
        with processes.accelerator.autocast():
            logits = module(images)
        scaled = in_float64(logits) / model.temperature
        values, classes = scaled.topk(k, dim=1)
        # As metrics.samples computes them, so that both give the same digits.
        softmax = (values - scaled.logsumexp(dim=1, keepdim=True)).exp()
        probabilities = values.sigmoid() if model.multi_label else softmax
        part = order.indices(batch.position)
        bad = [image.index - part.start for image in batch.unreadable]
        reasons.update({image.index: image.reason for image in batch.unreadable})
        flags = torch.zeros(len(part), 1, dtype=dtype)
        flags[bad] = 1
        rows[part.start : part.stop] = torch.cat(
            [flags.to(processes.device), classes.to(dtype), probabilities.to(dtype)], 1
        )
        progress.advance(len(part))
    return rows


def _check_finite(model: TrainedModel, images: UnlabelledImages, probabilities: np.ndarray, bad: np.ndarray) -> None:
    finite = np.isfinite(probabilities).all(axis=1)
    finite[bad] = True
    if not finite.all():
        first = images.name(int(np.flatnonzero(~finite)[0]))
        raise UserError(
            f"{model.name}: the logits of {(~finite).sum():,} of {len(images):,} images are not finite, first those of "
            f"{first}; damaged weights, or a precision that is too low (--amp-dtype)"
        )


def _reason(images: UnlabelledImages, index: int) -> str:
    """Why an image cannot be read, where another process tried."""
    try:
        images.load(index)
    except UNREADABLE as error:
        return one_line(error)
    return "it could not be read at first, and now it can"
