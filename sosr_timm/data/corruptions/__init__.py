"""The fifteen corruptions of CIFAR-10-C and ImageNet-C (Hendrycks and Dietterich 2019, arXiv 1903.12261)."""

from sosr_timm.data.corruptions.functions import CORRUPTIONS, corrupt
from sosr_timm.data.corruptions.parameters import FORMS, SEVERITIES, form_for
from sosr_timm.data.corruptions.sources import CorruptedSource, open_published

__all__ = ["CORRUPTIONS", "FORMS", "SEVERITIES", "CorruptedSource", "corrupt", "form_for", "open_published"]
