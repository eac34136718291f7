"""Metrics of classification from logits, exact over any number of processes."""

from sosr_timm.metrics.accuracy import top_correct
from sosr_timm.metrics.calibration import (
    adaptive_calibration_error,
    bin_membership,
    brier_score,
    calibration_error,
    negative_log_likelihood,
)
from sosr_timm.metrics.confusion import ClassCounts, confusion_matrix
from sosr_timm.metrics.multi_label import MultiLabelTable
from sosr_timm.metrics.samples import Samples, SampleTable
from sosr_timm.metrics.table import MetricTable

__all__ = [
    "ClassCounts",
    "MetricTable",
    "MultiLabelTable",
    "SampleTable",
    "Samples",
    "adaptive_calibration_error",
    "bin_membership",
    "brier_score",
    "calibration_error",
    "confusion_matrix",
    "negative_log_likelihood",
    "top_correct",
]
