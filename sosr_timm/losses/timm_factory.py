"""Registration with timm, whose classification loss factory then creates our losses and their combinations."""

from __future__ import annotations

import functools
import inspect
import sys
from collections.abc import Callable

import timm.loss
from torch import Tensor, nn

from sosr_timm.losses.base import BASES, PENALTIES
from sosr_timm.losses.compose import create_loss
from sosr_timm.losses.keywords import fit, keywords_of
from sosr_timm.losses.spec import ALIASES, LossSpec, TermSpec, builder_of, parse_loss
from sosr_timm.losses.timm_losses import ORIGINAL, factory_names, timm_factory, timm_loss_types

FACTORY = "create_classification_loss"
# Modules that hold the factory or the tuple under a name of their own. Those of timm.task take both from timm.loss when
# they are imported later. The tuple beside the factory stays as it is: timm's own checks and messages read that one.
FACTORY_MODULES = ("timm.loss._loss_factory", "timm.loss", "timm.task", "timm.task.classification")
TYPES_MODULES = ("timm.loss", "timm.task")
CONTEXT = ("loss_type", "multi_label", "smoothing", "soft_targets")


def register_with_timm() -> None:
    """Register our losses with timm: `timm.loss.create_classification_loss("sosr")`, and so every `timm.task`.

    timm's own loss types, its defaults and its messages stay as they are. Calling it again changes nothing.
    """
    original = timm_factory()
    current = timm.loss._loss_factory.create_classification_loss
    extended = current if current is not original else extend(original)
    own = timm_loss_types()
    known = timm.loss.LOSS_TYPES
    wanted = (*own, *(name for name in (*BASES, *PENALTIES, *ALIASES) if name not in own))
    types = known if known == wanted else wanted
    for module in loaded(FACTORY_MODULES):
        setattr(module, FACTORY, extended)
    for module in loaded(TYPES_MODULES):
        module.LOSS_TYPES = types


def unregister_from_timm() -> None:
    """Restore timm as it was, but for a module whose factory somebody else has replaced since."""
    for module in loaded(FACTORY_MODULES):
        factory = getattr(module, FACTORY)
        setattr(module, FACTORY, getattr(factory, ORIGINAL, factory))
    for module in loaded(TYPES_MODULES):
        module.LOSS_TYPES = timm_loss_types()


def loaded(names: tuple[str, ...]) -> list:
    """Return those of the modules that have been imported."""
    return [sys.modules[name] for name in names if name in sys.modules]


def extend(original: Callable[..., nn.Module]) -> Callable[..., nn.Module]:
    """timm's factory, with its signature, that also takes a loss of ours as `loss_type`."""

    @functools.wraps(original)
    def create_classification_loss(*args, **kwargs) -> nn.Module:
        loss_type = args[0] if args else kwargs.get("loss_type")
        if not is_ours(loss_type):
            return original(*args, **kwargs)
        return create_from_factory(original, inspect.signature(original).bind(*args, **kwargs))

    setattr(create_classification_loss, ORIGINAL, original)
    return create_classification_loss


def is_ours(loss_type: object) -> bool:
    """Whether a loss type is one of our names or joins terms; everything else is left to timm."""
    if not isinstance(loss_type, str) or loss_type in timm_loss_types():
        return False
    return any(loss_type in names for names in (BASES, PENALTIES, ALIASES)) or "+" in loss_type or "(" in loss_type


def create_from_factory(original: Callable[..., nn.Module], call: inspect.BoundArguments) -> nn.Module:
    """Create our loss for a call of timm's factory, whose other arguments go to the base.

    Raises:
        ValueError: as `create_loss`; or timm's own, for an argument that does not apply to the base.
    """
    defaults = {name: item.default for name, item in call.signature.parameters.items()}
    # timm's training script passes every argument, so one at its default counts as not given.
    given = {name: value for name, value in call.arguments.items() if not same(value, defaults[name])}
    context = {name: given.get(name, defaults[name]) for name in CONTEXT}
    given = {name: value for name, value in given.items() if name not in CONTEXT}

    spec = parse_loss(context.pop("loss_type"))
    is_timm = spec.base.name in timm_loss_types() and spec.base.name != "ce"
    names = factory_names(spec.base.name) if is_timm else {}
    spec = LossSpec(merge(spec.base, names, given), spec.penalties)
    loss = create_loss(spec, **context)

    # timm says which of the arguments do not apply. Our cross entropy and OLS take those that timm's takes: none.
    base = {argument: spec.base.keywords[name] for name, argument in names.items() if name != "smoothing"}
    original(spec.base.name if is_timm else "ce", **context, **(given | base))
    return loss


def merge(term: TermSpec, names: dict[str, str], given: dict[str, object]) -> TermSpec:
    """Merge those of the factory's arguments that belong to a term into it.

    Raises:
        ValueError: one is given twice with different values, or has the wrong type.
    """
    known = keywords_of(builder_of(term.name))
    for name, argument in names.items():
        if argument not in given:
            continue
        if name in term.given and not same(term.keywords[name], given[argument]):
            raise ValueError(f"{argument} is given as an argument and, differently, in {term.name}({name}=...)")
        value = given[argument]
        value = value.tolist() if hasattr(value, "tolist") else value
        try:
            term = term.having(**{name: fit(value, known[name].annotation)})
        except ValueError as error:
            raise ValueError(f"{argument} {error}") from None
    return term


def same(value: object, other: object) -> bool:
    """Equality that takes tensors for different from everything but themselves."""
    return value is other or (not isinstance(value, Tensor) and not isinstance(other, Tensor) and value == other)
