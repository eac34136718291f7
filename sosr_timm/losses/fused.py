"""The bridge to the row kernels: a composed loss of our own terms as one piece of work."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any

from torch import Tensor

from sosr_timm.kernels import RowWork, choose_kernel, row_loss
from sosr_timm.losses.base import Base, Penalty, is_training, working_precision
from sosr_timm.losses.confidence_penalty import ConfidencePenalty
from sosr_timm.losses.cross_entropy import CrossEntropy
from sosr_timm.losses.focal import Focal
from sosr_timm.losses.label_relaxation import LabelRelaxation
from sosr_timm.losses.logit_penalty import LogitPenalty
from sosr_timm.losses.margin import Margin
from sosr_timm.losses.maxsup import MaxSup
from sosr_timm.losses.ols import OnlineLabelSmoothing
from sosr_timm.losses.smoothing_parts import SmoothingParts
from sosr_timm.losses.sosr import SelectiveOutputSmoothing
from sosr_timm.losses.targets import LABEL_WEIGHT, Labels
from sosr_timm.losses.teacher_free import TeacherFreeDistillation


def fused_loss(
    base: Base, penalties: Mapping[str, Penalty], logits: Tensor, labels: Labels
) -> tuple[Tensor, dict[str, Tensor]] | None:
    """A loss by a row kernel, or None where the plain composition has to do it.

    That is for terms which the kernels do not have, for weights of samples or classes, and where `choose_kernel` says.

    Args:
        base: the base.
        penalties: the penalties under their names.
        logits: (M, K) floating point, in the precision they came in.
        labels: the labels.

    Returns:
        the scalar, and the parts without the base's name: that is "base" here.
    """
    if labels.sample_weight is not None or base.weighs_classes:
        return None
    kernel = choose_kernel(logits, labels.dense)
    if kernel == "plain" or not all(type(term) in WORK for term in (base, *penalties.values())):
        return None
    work = row_work(base, penalties, logits, labels)
    if work is None:
        return None
    return row_loss(kernel, logits, work, plain_value(base, penalties, labels))


def row_work(base: Base, penalties: Mapping[str, Penalty], logits: Tensor, labels: Labels) -> RowWork | None:
    """The terms' present constants and state, or None where the row kernels do not have one of them for such labels.

    OLS allocates its state on the first training batch.

    Raises:
        TypeError: a term that the row kernels do not have.
    """
    work: dict[str, Any] = {}
    for term in (base, *penalties.values()):
        if type(term) not in WORK:
            raise TypeError(f"the row kernels do not have {type(term).__name__}")
        part = WORK[type(term)](term, logits, labels)
        if part is None:
            return None
        work |= part
    return RowWork(
        index=labels.index,
        dense=labels.dense,
        dense_smoothing=labels.smoothing,
        label_weight=LABEL_WEIGHT,
        **work,
    )


def work_of_ols(term: OnlineLabelSmoothing, logits: Tensor, labels: Labels) -> dict[str, Any]:
    work = {"alpha": term.alpha, "soft_labels": term.prepare(logits)}
    if is_training(term, logits):
        work |= {"probability_sum": term.probability_sum, "correct_count": term.correct_count}
    return work


def at_once(number: float | Tensor) -> float | Tensor:
    """What changes in training as a number, where reading it does not wait for a device."""
    return float(number) if isinstance(number, Tensor) and number.device.type == "cpu" else number


def work_of_cross_entropy(term: CrossEntropy, logits: Tensor, labels: Labels) -> dict[str, Any]:
    smoothing = at_once(term.smoothing_of(labels))
    return {"hard": 1.0 - smoothing, "spread": smoothing}


def work_of_focal(term: Focal, logits: Tensor, labels: Labels) -> dict[str, Any] | None:
    if labels.index is None or term.smoothing:  # then it is a function of every class's probability
        return None
    return {"curve": "flsd53"} if term.gamma is None else {"curve": "focal", "curve_parameter": term.gamma}


def work_of_relaxation(term: LabelRelaxation, logits: Tensor, labels: Labels) -> dict[str, Any] | None:
    return None if labels.index is None else {"curve": "relaxation", "curve_parameter": term.alpha}


def work_of_teacher_free(term: TeacherFreeDistillation, logits: Tensor, labels: Labels) -> dict[str, Any] | None:
    if labels.index is None or term.form != "code":  # the form of the paper has a softmax of its own
        return None
    classes = logits.shape[1]
    teacher, share = term.teacher(classes), term.alpha * term.multiplier / classes
    return {
        "hard": (1.0 - term.alpha) + share * (teacher.label - teacher.other),
        "spread": share * classes * teacher.other,
        "mass": (1.0 - term.alpha) + share,
        "offset": share * teacher.negative_entropy,
    }


def work_of_part(term: SmoothingParts, logits: Tensor, labels: Labels) -> dict[str, Any] | None:
    return None if labels.index is None else {"part": term.part, "part_weight": term.weight}


# Which fields of `RowWork` a term fills, by its exact type: a subclass may compute something else. None where the row
# kernels do not have the term for such labels.
WORK: dict[type, Callable[[Any, Tensor, Labels], dict[str, Any] | None]] = {
    CrossEntropy: work_of_cross_entropy,
    Focal: work_of_focal,
    LabelRelaxation: work_of_relaxation,
    TeacherFreeDistillation: work_of_teacher_free,
    OnlineLabelSmoothing: work_of_ols,
    SelectiveOutputSmoothing: lambda term, logits, labels: {"threshold": term.threshold, "beta": term.weight},
    MaxSup: lambda term, logits, labels: {"maxsup": at_once(term.weight)},
    ConfidencePenalty: lambda term, logits, labels: {"cp": term.weight},
    LogitPenalty: lambda term, logits, labels: {"logit_penalty": term.weight},
    Margin: lambda term, logits, labels: {"margin": term.margin, "margin_weight": term.weight},
    SmoothingParts: work_of_part,
}


def plain_value(base: Base, penalties: Mapping[str, Penalty], labels: Labels) -> Callable[[Tensor], Tensor]:
    """The same loss as a function of the logits, by torch operations and without counting anything."""

    def value(logits: Tensor) -> Tensor:
        logits = working_precision(logits)
        return sum((penalty(logits, labels)[0] for penalty in penalties.values()), base.value(logits, labels))

    return value
