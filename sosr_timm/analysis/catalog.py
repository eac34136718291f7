"""Imports every analysis, so that it is registered; in the order of `sosr-analyze --help`."""

from sosr_timm.analysis import (  # noqa: F401
    cam,
    corruptions,
    diversity,
    ensemble,
    features2d,
    gradients,
    human,
    logits,
    overconfidence,
    projection,
    transfer,
)
