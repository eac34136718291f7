"""Output regularisers for image classifiers: SOSR, OLS, MaxSup, confidence penalty, as timm losses."""

from sosr_timm.version import __version__

__all__ = ["__version__"]
