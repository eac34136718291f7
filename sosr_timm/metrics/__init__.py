"""Metrics of single-label classification from logits, exact over any number of processes."""

from sosr_timm.metrics.accuracy import top_correct
from sosr_timm.metrics.calibration import bin_membership, brier_score, calibration_error, negative_log_likelihood
from sosr_timm.metrics.table import MetricTable

__all__ = [
    "MetricTable",
    "bin_membership",
    "brier_score",
    "calibration_error",
    "negative_log_likelihood",
    "top_correct",
]
