"""The loss of a run from its options: --loss, and timm's flags for what --loss writes as keywords of its base."""

from __future__ import annotations

import json
from inspect import signature
from typing import Any

import psutil
import torch
from timm.data.mixup import mixup_target
from timm.loss import create_classification_loss
from timm.loss.class_weights import CLASS_WEIGHT_METHODS, load_class_stats, resolve_class_weights

from sosr_timm.errors import UserError, one_line
from sosr_timm.losses.compose import ComposedLoss, create_loss
from sosr_timm.losses.ols import bytes_of_state
from sosr_timm.losses.spec import LossSpec, parse_loss
from sosr_timm.losses.timm_factory import merge
from sosr_timm.losses.timm_losses import factory_names, timm_loss_types
from sosr_timm.options.task import LossOptions, TaskOptions, is_multi_label, loss_text
from sosr_timm.setup.views import with_splits

TIMMS_SMOOTHING = 0.1  # the default of its train.py
FACTORY_DEFAULTS = {name: item.default for name, item in signature(create_classification_loss).parameters.items()}


def loss_spec(options: LossOptions, task: TaskOptions) -> LossSpec:
    """The loss as written in --loss, with what timm's flags say of its base.

    Raises:
        UserError: a faulty --loss, a flag of another base, or a value that is given in both ways.
    """
    text = loss_text(options, task)
    try:
        spec = parse_loss(text)
    except ValueError as error:
        raise UserError(f"--loss '{text}': {error}") from None
    base = spec.base
    if options.bce_loss and base.name != "bce":
        better = "+".join(("bce", *map(str, spec.penalties)))
        raise UserError(f"--bce-loss contradicts --loss '{text}', whose base is {base.name}: write --loss '{better}'")
    if options.jsd_loss and base.name != "jsd":
        raise UserError(f"--jsd-loss contradicts the loss '{text}', whose base is {base.name}: leave one of them out")
    is_timm = base.name in timm_loss_types() and base.name != "ce"
    arguments = factory_names(base.name) if is_timm else {}
    keywords = {argument: keyword for keyword, argument in arguments.items()}
    given = given_arguments(options, base.name)
    # timm's args.yaml holds these flags for every loss: at its default one has no effect on other losses.
    given = {name: item for name, item in given.items() if name in keywords or item[1] != FACTORY_DEFAULTS.get(name)}
    for argument, (flag, _) in given.items():
        if argument not in keywords:
            raise UserError(f"{flag} has no effect on the loss '{base.name}', which --loss or its default asks for")
        if keywords[argument] in base.given:
            raise UserError(
                f"{flag} and {base.name}({keywords[argument]}=...) in --loss mean the same: give one of them"
            )
    try:
        return LossSpec(merge(base, arguments, {name: value for name, (_, value) in given.items()}), spec.penalties)
    except ValueError as error:
        raise UserError(f"--loss '{text}': {error}") from None


def given_arguments(options: LossOptions, base: str) -> dict[str, tuple[str, Any]]:
    """What timm's flags give: argument of timm's loss factory -> (flag, value).

    Raises:
        UserError: weights that cannot be read, or two flags for the positive weight.
    """
    simple = {
        "bce_sum": options.bce_sum or None,
        "bce_target_thresh": options.bce_target_thresh,
        "poly_epsilon": options.poly_epsilon,
        "poly_gamma": options.poly_gamma,
        "poly_alpha": options.poly_alpha,
        "asl_gamma_pos": options.asl_gamma_pos,
        "asl_gamma_neg": options.asl_gamma_neg,
        "asl_clip": options.asl_clip,
        "asl_reduction": options.asl_reduction,
        "twoway_tp": options.twoway_tp,
        "twoway_tn": options.twoway_tn,
        "db_neg_scale": options.db_neg_scale,
        "db_init_bias": options.db_init_bias,
        "db_focal_gamma": options.db_focal_gamma,
    }
    found = {name: ("--" + name.replace("_", "-"), value) for name, value in simple.items() if value is not None}
    stats = _class_stats(options.class_stats)
    if options.bce_pos_weight is not None:
        if base != "bce":
            raise UserError(f"--bce-pos-weight has no effect on the loss '{base}'. Did you mean --loss-pos-weight?")
        if options.loss_pos_weight is not None:
            raise UserError("--bce-pos-weight and --loss-pos-weight mean the same: give one of them")
        found["pos_weight"] = ("--bce-pos-weight", options.bce_pos_weight)
    for flag, kind, text in (
        ("--class-weights", "class_weight", options.class_weights),
        ("--loss-pos-weight", "pos_weight", options.loss_pos_weight),
    ):
        if text is not None:
            found[kind] = (flag, _weights(flag, kind, text, stats))
    if stats is not None and base == "db":
        counts, samples = stats
        found["class_counts"] = ("--class-stats", counts.tolist())
        found["num_samples"] = ("--class-stats", samples)
    elif stats is not None and not {options.class_weights, options.loss_pos_weight} & set(CLASS_WEIGHT_METHODS):
        methods = ", ".join(CLASS_WEIGHT_METHODS)
        raise UserError(
            f"--class-stats {options.class_stats}: nothing uses it, neither --loss db nor weights ({methods})"
        )
    return found


def _class_stats(path: str | None) -> tuple[torch.Tensor, int] | None:
    try:
        return load_class_stats(path)
    except (OSError, ValueError, TypeError) as error:
        raise UserError(f"--class-stats {path}: {one_line(error)}") from None


def _weights(flag: str, kind: str, text: str, stats: tuple[torch.Tensor, int] | None) -> float | list[float]:
    try:
        weights = resolve_class_weights(text, kind, stats)
    except (OSError, ValueError, TypeError, json.JSONDecodeError) as error:
        raise UserError(f"{flag} {text}: {one_line(error)}") from None
    return weights.tolist() if isinstance(weights, torch.Tensor) else weights


def resolve_smoothing(options: LossOptions, task: TaskOptions) -> float:
    """The label smoothing of a run beside what --loss says: --smoothing, else timm's 0.1 where there is no --loss.

    A loss that is written out is taken as written: `--loss ce` is cross entropy, `--loss ls` has label smoothing.
    """
    if options.smoothing is not None:
        return options.smoothing
    return TIMMS_SMOOTHING if takes_timms_smoothing(options, task) else 0.0


def takes_timms_smoothing(options: LossOptions, task: TaskOptions) -> bool:
    """Whether timm's default applies: one class per image, neither --loss nor --smoothing, and a base that smooths."""
    by_default = not options.loss and options.smoothing is None and not is_multi_label(task)
    return by_default and "smoothing" in loss_spec(options, task).base.keywords


def origin_of_smoothing(options: LossOptions, task: TaskOptions) -> str:
    """Where the label smoothing of a run comes from, in words."""
    spec = loss_spec(options, task)
    base = spec.base
    if options.smoothing is not None:
        return "--smoothing"
    if "smoothing" in base.given:
        return "--loss says so"
    if takes_timms_smoothing(options, task):
        return f"timm's default without --loss; --loss {base.name} has none"
    if base.name in timm_loss_types() and not spec.penalties and not is_multi_label(task):
        return f"--loss is taken as written; timm's default of {TIMMS_SMOOTHING:g} is for runs without --loss"
    return "not asked for"


def make_loss(options: LossOptions, task: TaskOptions, num_classes: int, mixed: bool, splits: int = 0) -> ComposedLoss:
    """The loss, tried once on the kind of target that will come.

    Args:
        options: of the loss.
        task: one class per image or many labels.
        num_classes: K.
        mixed: targets come from Mixup or CutMix.
        splits: views of each image in a batch, 0 without.

    Raises:
        UserError: a faulty spec, or a combination that no paper defines.
    """
    spec, multi_label = with_splits(loss_spec(options, task), splits), is_multi_label(task)
    if spec.base.name == "ols":
        needed, there = bytes_of_state(num_classes), psutil.virtual_memory().total
        if needed > there:
            raise UserError(
                f"--loss '{loss_text(options, task)}': the soft labels of {num_classes:,} classes need {needed:,} "
                f"bytes, this machine has {there:,}"
            )
    try:
        loss = create_loss(
            spec, resolve_smoothing(options, task), num_classes, multi_label=multi_label, soft_targets=mixed
        )
        target = torch.arange(2).repeat(max(1, splits)) % num_classes
        if multi_label:
            target = torch.eye(num_classes)[target]
        if mixed:
            target = mixup_target(target, num_classes, 0.7, loss.smoothing, multi_label)
        loss.eval()(torch.zeros(len(target), num_classes), target)
    except (ValueError, RuntimeError) as error:
        raise UserError(f"--loss '{loss_text(options, task)}': {one_line(error)}") from None
    return loss.train()
