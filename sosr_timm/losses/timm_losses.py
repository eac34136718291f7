"""timm's own losses as base terms: a thin adapter over timm's classification loss factory."""

from __future__ import annotations

import inspect
from collections.abc import Callable

import timm.loss._loss_factory
from torch import Tensor

from sosr_timm.losses.base import BASES, Base, check_number
from sosr_timm.losses.targets import Labels

ORIGINAL = "_sosr_timm_original"  # attribute of our extended factory that holds timm's own
INDEX_ONLY = ("asl", "jsd")  # single-label types whose formula needs class indices
SHARED_KEYWORDS = {
    "bce": ("class_weight", "pos_weight"),
    "asl": ("class_weight", "pos_weight"),
    "db": ("class_counts", "num_samples"),
}


def timm_factory() -> Callable:
    """timm's own `create_classification_loss`, whether or not it is extended at the moment."""
    factory = timm.loss._loss_factory.create_classification_loss
    return getattr(factory, ORIGINAL, factory)


def timm_loss_types() -> tuple[str, ...]:
    """The loss types that timm itself knows. Registration leaves the tuple beside the factory as it is."""
    return timm.loss._loss_factory.LOSS_TYPES


def factory_names(loss_type: str) -> dict[str, str]:
    """Keyword in the grammar -> argument of timm's factory, for one loss type.

    The factory puts the type in front of what belongs to it (`poly_epsilon`), the grammar leaves that out (`epsilon`).
    """
    prefix = f"{loss_type}_"
    own = [name for name in inspect.signature(timm_factory()).parameters if name.startswith(prefix)]
    shared = ("smoothing", *SHARED_KEYWORDS.get(loss_type, ()))
    return {name: name for name in shared} | {name.removeprefix(prefix): name for name in own}


class TimmLoss(Base):
    """A loss of timm's factory, on class indices or on dense targets.

    Args:
        loss_type: one of timm's LOSS_TYPES.
        multi_label: targets are independent binary labels, (M, K) floats.
        soft_targets: the targets are mixed, and smoothed already.
        arguments: of timm's factory, under the grammar's names.

    Raises:
        ValueError: as timm's factory, or what timm states as an assertion.
    """

    def __init__(self, loss_type: str, multi_label: bool = False, soft_targets: bool = False, **arguments):
        super().__init__()
        check_number("smoothing", arguments["smoothing"], 0.0, 1.0, below=True)
        names = factory_names(loss_type)
        arguments = {names[name]: value for name, value in arguments.items()}
        try:
            self.criterion = timm_factory()(loss_type, multi_label, soft_targets=soft_targets, **arguments)
        except (AssertionError, ArithmeticError, RuntimeError) as error:
            raise ValueError(f"{loss_type}: {error or 'refused by timm'}") from error
        self.loss_type = loss_type
        self.index_only = loss_type in INDEX_ONLY and not multi_label

    def forward(self, logits: Tensor, labels: Labels) -> tuple[Tensor, dict[str, Tensor]]:
        if labels.index is not None:
            return self.criterion(logits, labels.index), {}
        if self.index_only:
            raise ValueError(f"{self.loss_type} takes class indices, it does not support Mixup/CutMix")
        return self.criterion(logits, labels.dense.to(logits.dtype)), {}

    def value(self, logits: Tensor, labels: Labels) -> Tensor:
        return self(logits, labels)[0]


def adapter(loss_type: str) -> Callable[..., TimmLoss]:
    """Return a constructor whose signature is the part of timm's that belongs to `loss_type`."""

    def build(*, multi_label: bool = False, soft_targets: bool = False, **arguments) -> TimmLoss:
        return TimmLoss(loss_type, multi_label, soft_targets, **arguments)

    timms = inspect.signature(timm_factory()).parameters
    keyword, keyword_only = inspect.Parameter.POSITIONAL_OR_KEYWORD, inspect.Parameter.KEYWORD_ONLY
    own = [timms[argument].replace(name=name, kind=keyword) for name, argument in factory_names(loss_type).items()]
    context = [timms[name].replace(kind=keyword_only) for name in ("multi_label", "soft_targets")]
    build.__signature__ = inspect.Signature(own + context)
    build.__name__ = loss_type
    return build


for _loss_type in timm_loss_types():
    if _loss_type not in BASES:  # cross entropy is ours: it has parts and reads mixed targets
        BASES.register(_loss_type)(adapter(_loss_type))
