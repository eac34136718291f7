"""The metrics of a run's best and last checkpoint, before and after temperature scaling, for a comparison's record."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np

from sosr_timm.data.sources.catalog import open_source
from sosr_timm.data.sources.source import ImageSource, spread
from sosr_timm.distributed.processes import Processes
from sosr_timm.errors import UserError
from sosr_timm.metrics.samples import Samples
from sosr_timm.metrics.temperature import calibration_at, fit_temperature
from sosr_timm.options.load import Loaded
from sosr_timm.options.validate import ValidateOptions
from sosr_timm.setup.datasets import reading
from sosr_timm.setup.stored_run import StoredRun, find_run
from sosr_timm.validation.data import evaluation_source
from sosr_timm.validation.evaluation import evaluate_model
from sosr_timm.validation.model_selection import EvaluatedModel, name_of_run

EPOCHS = ("best", "last")
SEED = 42  # of the halves that temperatures are fitted on
OTHER_HALF, HELD_OUT = "the other half of the evaluation images", "the held-out part of the training images"


def measure_run(folder: Path, processes: Processes) -> dict[str, Any]:
    """Evaluate a finished run's best and last checkpoint on its evaluation images.

    Returns:
        `images`, `weights` ("weights" or "ema"), `temperature_fitted_on`, and for "best" and "last" what
        `metrics_with_temperature` gives, with the `epoch`.

    Raises:
        UserError: the run or its data cannot be read.
    """
    found: dict[str, Any] = {}
    for which, run in runs_of(folder).items():
        samples, metrics, weights = evaluate_run(run, evaluation_source(ValidateOptions(), run), processes)
        found |= {"images": metrics["count"], "weights": weights, "temperature_fitted_on": OTHER_HALF}
        if processes.is_main:
            held_out = run.options.data.val_fraction is not None
            found[which] = {"checkpoint": run.checkpoint.name, **scaled_by_halves(samples, metrics)}
            if held_out:  # for the test images
                found[which]["temperature_of_all"] = fit_temperature(samples.logits, samples.target)
    return found


def measure_test(folder: Path, split: str, before: dict[str, Any], processes: Processes) -> dict[str, Any]:
    """Evaluate a finished run's best and last checkpoint on images that nothing was chosen on.

    Args:
        folder: of the run.
        split: of the test images.
        before: what `measure_run` found on the held-out images, with the temperatures fitted there.
        processes: that share the work.

    Returns:
        as `measure_run`.

    Raises:
        UserError: the run or its data cannot be read.
    """
    found: dict[str, Any] = {}
    for which, run in runs_of(folder).items():
        samples, metrics, weights = evaluate_run(run, source_of(run, split), processes)
        found |= {"images": metrics["count"], "weights": weights, "temperature_fitted_on": HELD_OUT}
        if processes.is_main:
            temperature = before[which]["temperature_of_all"]
            scaled = calibration_at(samples.logits, samples.target, temperature)
            found[which] = {"checkpoint": run.checkpoint.name, **joined(metrics, scaled, temperature)}
    return found


def runs_of(folder: Path) -> dict[str, StoredRun]:
    """The run with its best and with its last checkpoint."""
    runs = {which: find_run(str(folder), which) for which in EPOCHS}
    if None in runs.values():
        raise UserError(f"{folder} is no run folder")
    return runs  # type: ignore[return-value]


def source_of(run: StoredRun, split: str) -> ImageSource:
    """A split of a run's data set."""
    data = run.options.data
    root = data.data or data.data_dir
    source = open_source(data.dataset, root, split, class_map=data.class_map, reading=reading(data, run.options.model))
    return spread(source, data.val_num_samples)


def evaluate_run(run: StoredRun, source: ImageSource, processes: Processes) -> tuple[Samples, dict[str, Any], str]:
    """Predictions with logits and metrics of a checkpoint: of its EMA where it has one, as the best epoch was chosen.

    Returns:
        predictions, metrics as evaluation.json has them, "weights" or "ema".
    """
    options = ValidateOptions()
    options = replace(options, report=replace(options.report, log_freq=0))
    evaluated = EvaluatedModel(name_of_run(run), options, run)
    found = evaluate_model(evaluated, Loaded(options, {}, {}), processes, source, retry=False, keep_logits=True)
    if not found.samples:
        raise UserError("a comparison needs one class per image, not many labels")
    weights = "ema" if "ema" in found.samples else "weights"
    return found.samples[weights], found.record["weights"][weights], weights


def scaled_by_halves(samples: Samples, metrics: dict[str, Any]) -> dict[str, Any]:
    """Metrics before and after temperature scaling, each half of the images with the temperature of the other half.

    Args:
        samples: predictions with logits.
        metrics: of all of them.
    """
    order = np.random.default_rng(SEED).permutation(len(samples.target))
    halves = np.sort(order[: len(order) // 2]), np.sort(order[len(order) // 2 :])
    temperatures = [fit_temperature(samples.logits[half], samples.target[half]) for half in halves]
    divisor = np.empty(len(order))
    for half, temperature in zip(halves, reversed(temperatures), strict=True):
        divisor[half] = temperature
    scaled = calibration_at(samples.logits.astype(np.float64) / divisor[:, None], samples.target, 1.0)
    return joined(metrics, scaled, float(np.mean(temperatures)))


def joined(metrics: dict[str, Any], scaled: dict[str, Any], temperature: float) -> dict[str, Any]:
    """The metrics of a record: those of an evaluation that a comparison shows, and those after scaling.

    Args:
        metrics: before.
        scaled: after.
        temperature: that the logits were divided by; the mean of two where there were two.
    """
    names = ("top1", "top5", "loss", "ece", "ece_adaptive", "ece_classwise", "brier")
    selective = metrics["selective"]
    chosen = selective["max_softmax"]
    return {
        **{name: metrics[name] for name in names if name in metrics},
        **{name: value for name, value in chosen.items() if name != "risk"},
        "temperature": temperature,
        **{f"{name}_scaled": scaled[name] for name in ("loss", "ece", "brier")},
        "reliability": metrics["reliability"],
        "reliability_scaled": scaled["reliability"],
        "risk_coverage": {"coverage": selective["coverage"], "risk": chosen["risk"]},
    }
