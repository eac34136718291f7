"""Temperature scaling: one number that divides all logits, fitted on samples that the report leaves out."""

from __future__ import annotations

import math
from typing import Any

import numpy as np
import torch

from sosr_timm.metrics.calibration import adaptive_calibration_error
from sosr_timm.metrics.classwise import ClasswiseCalibration
from sosr_timm.metrics.samples import SampleTable
from sosr_timm.metrics.table import MetricTable

LOWEST, HIGHEST = 0.01, 100.0
CHUNK = 4096  # samples at a time: the float64 logits of a data set may not fit into memory


def fit_temperature(logits: np.ndarray, target: np.ndarray) -> float:
    """The T > 0 with the least mean negative log-likelihood of softmax(logits / T) (Guo et al. 2017, arXiv 1706.04599).

    The likelihood has one minimum in T; it is searched between 0.01 and 100; where it has none
    (all of them are right, say) the result is near one end.

    Args:
        logits: (N, K).
        target: (N,) integers in [0, K).
    """
    from scipy.optimize import minimize_scalar

    labels = torch.from_numpy(target)[:, None]
    values = torch.from_numpy(logits)

    def loss(log_temperature: float) -> float:
        scale = math.exp(-log_temperature)
        sums = []
        for start in range(0, len(values), CHUNK):
            part = values[start : start + CHUNK].double() * scale
            chosen = part.log_softmax(dim=1).gather(1, labels[start : start + CHUNK])
            sums.append(-chosen.sum().item())
        return math.fsum(sums) / len(values)

    bounds = (math.log(LOWEST), math.log(HIGHEST))
    return math.exp(minimize_scalar(loss, bounds=bounds, method="bounded", options={"xatol": 1e-8}).x)


def calibration_at(logits: np.ndarray, target: np.ndarray, temperature: float, bins: int = 15) -> dict[str, Any]:
    """Metrics and reliability of softmax(logits / temperature), as in an evaluation's record."""
    starts = range(0, len(logits), CHUNK)
    table = MetricTable(len(starts), bins)
    samples = SampleTable(len(logits), logits.shape[1])
    classwise = ClasswiseCalibration(logits.shape[1], bins)
    for batch, start in enumerate(starts):
        part = torch.from_numpy(logits[start : start + CHUNK]).double() / temperature
        labels = torch.from_numpy(target[start : start + CHUNK])
        table.update(batch, part, labels)
        samples.update(start, part, labels)
        classwise.update(part, labels)
    read = samples.read()
    adaptive = adaptive_calibration_error(read.confidence, read.correct, bins)
    others = {"ece_adaptive": adaptive, "ece_classwise": classwise.compute()}
    return {**table.compute(), **others, "reliability": table.reliability()}


def held_out(count: int, share: float, seed: int) -> tuple[np.ndarray, np.ndarray]:
    """The samples to fit on, drawn without regard to their classes, and all the others; each in order.

    Raises:
        ValueError: no sample to fit on, or none left to report.
    """
    number = round(share * count)
    if not 0 < number < count:
        raise ValueError(f"a share of {share:g} leaves {number} of {count} samples to fit on; both parts need one")
    order = np.random.default_rng(seed).permutation(count)
    return np.sort(order[:number]), np.sort(order[number:])


def calibrate(logits: np.ndarray, target: np.ndarray, share: float, seed: int) -> dict[str, Any]:
    """Fit a temperature on some samples and report the others before and after.

    Args:
        logits: (N, K).
        target: (N,) integers in [0, K).
        share: of the samples to fit on, drawn without regard to their classes.
        seed: of the drawing.

    Returns:
        `temperature`, `share`, `seed`, `fitted_on` (samples), and `before` and `after`, the metrics of all the others.

    Raises:
        ValueError: no sample to fit on, or none left to report.
    """
    fit, rest = held_out(len(logits), share, seed)
    temperature = fit_temperature(logits[fit], target[fit])
    return {
        "temperature": temperature,
        "share": share,
        "seed": seed,
        "fitted_on": len(fit),
        "before": calibration_at(logits[rest], target[rest], 1.0),
        "after": calibration_at(logits[rest], target[rest], temperature),
    }
