"""Output regularisers for image classifiers: SOSR, OLS, MaxSup, confidence penalty, as timm losses."""

from sosr_timm import models
from sosr_timm.data.order.resumable_sampler import ResumableSampler
from sosr_timm.losses import create_loss, register_with_timm
from sosr_timm.version import __version__

__all__ = ["ResumableSampler", "__version__", "create_loss", "models"]

register_with_timm()
