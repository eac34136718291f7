"""The losses: terms by name, the grammar that joins them, and their registration with timm."""

from sosr_timm.losses import (  # noqa: F401  (each registers its term)
    confidence_penalty,
    cross_entropy,
    focal,
    label_relaxation,
    logit_normalization,
    logit_penalty,
    margin,
    maxsup,
    ols,
    smoothing_parts,
    sosr,
    teacher_free,
    timm_losses,
    zipf,
)
from sosr_timm.losses.base import BASES, PENALTIES, Base, Penalty
from sosr_timm.losses.compose import ComposedLoss, create_loss
from sosr_timm.losses.spec import LossSpec, TermSpec, parse_loss
from sosr_timm.losses.targets import Labels, read_target
from sosr_timm.losses.timm_factory import register_with_timm, unregister_from_timm

__all__ = [
    "BASES",
    "PENALTIES",
    "Base",
    "ComposedLoss",
    "Labels",
    "LossSpec",
    "Penalty",
    "TermSpec",
    "create_loss",
    "parse_loss",
    "read_target",
    "register_with_timm",
    "unregister_from_timm",
]
