"""The metrics of an evaluation from its tables and predictions, as evaluation.json holds them."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
import torch

from sosr_timm.data.sources.source import ImageSource
from sosr_timm.errors import UserError
from sosr_timm.metrics.calibration import adaptive_calibration_error
from sosr_timm.metrics.classwise import ClasswiseCalibration
from sosr_timm.metrics.confusion import ClassCounts
from sosr_timm.metrics.multi_label import MultiLabelTable
from sosr_timm.metrics.samples import Samples
from sosr_timm.metrics.selective import selective_classification
from sosr_timm.metrics.table import MetricTable


def metrics_of(
    table: MetricTable, samples: Samples, classwise: ClasswiseCalibration, classes: int, p_norm: float
) -> dict[str, Any]:
    """Compute the metrics of one set of weights.

    Returns:
        `top1` and `top5` in percent, `loss` (NLL in nats), `brier`, `ece`, `ece_adaptive` and `ece_classwise` (15 bins
        of equal width, of equal mass, of equal width for each class), `count`, `averages` (macro, micro and weighted
        precision, recall and F1 as fractions), `selective` (selective classification by each confidence) and
        `reliability` (the bins of the diagram).
    """
    return {
        **table.compute(),
        "ece_adaptive": adaptive_calibration_error(samples.confidence, samples.correct, table.bins),
        "ece_classwise": classwise.compute(),
        "averages": ClassCounts.of(samples.target, samples.guesses[:, 0], classes).averages(),
        "selective": selective_classification(samples, p_norm),
        "reliability": table.reliability(),
    }


def check_finite(found: Samples | MultiLabelTable, source: ImageSource, title: str) -> None:
    """Raise where the logits of an image are not finite, so that no metric is defined.

    Raises:
        UserError: with the first such image.
    """
    many = isinstance(found, MultiLabelTable)
    finite = torch.isfinite(found.logits).numpy() if many else np.isfinite(found.probabilities)
    bad = np.flatnonzero(~finite.all(axis=1))
    if len(bad):
        raise UserError(
            f"{title}: the logits of {len(bad)} of {len(finite)} images are not finite, first those of "
            f"{source.name(int(bad[0]))}; damaged weights, or a precision that is "
            "too low (--amp-dtype, --model-dtype)"
        )


def check_labels(samples: Samples, source: ImageSource, allowed: Sequence[int] | None) -> None:
    """Raise where an image is of a class that may not be guessed.

    Raises:
        UserError: with the first such image.
    """
    if allowed is None:
        return
    bad = np.flatnonzero(~np.isin(samples.target, allowed))
    if len(bad):
        raise UserError(
            f"--valid-labels does not name class {samples.target[bad[0]]}, of which there are images, first "
            f"{source.name(int(bad[0]))}"
        )
