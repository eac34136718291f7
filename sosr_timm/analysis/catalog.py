"""Imports every analysis, so that it is registered; in the order of `sosr-analyze --help`."""

from sosr_timm.analysis import diversity, gradients, overconfidence  # noqa: F401
