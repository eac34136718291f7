"""The bridge to the row kernels: a composed loss of our own terms as one piece of work."""

from __future__ import annotations

from collections.abc import Callable, Mapping

from torch import Tensor

from sosr_timm.kernels import RowWork, choose_kernel, row_loss
from sosr_timm.losses.base import Base, Penalty, working_precision
from sosr_timm.losses.confidence_penalty import ConfidencePenalty
from sosr_timm.losses.cross_entropy import CrossEntropy
from sosr_timm.losses.maxsup import MaxSup
from sosr_timm.losses.ols import OnlineLabelSmoothing
from sosr_timm.losses.sosr import SelectiveOutputSmoothing
from sosr_timm.losses.targets import LABEL_WEIGHT, Labels

FUSED = (CrossEntropy, OnlineLabelSmoothing, SelectiveOutputSmoothing, MaxSup, ConfidencePenalty)


def fused_loss(
    base: Base, penalties: Mapping[str, Penalty], logits: Tensor, labels: Labels
) -> tuple[Tensor, dict[str, Tensor]] | None:
    """A loss by a row kernel, or None where the plain composition has to do it: other terms, or see `choose_kernel`.

    Args:
        base: the base.
        penalties: the penalties under their names.
        logits: (M, K) floating point, in the precision they came in.
        labels: the labels.

    Returns:
        the scalar, and the parts without the base's name: that is "base" here.
    """
    kernel = choose_kernel(logits, labels.dense)
    if kernel == "plain" or not all(type(term) in FUSED for term in (base, *penalties.values())):
        return None
    work = row_work(base, penalties, logits, labels)
    return row_loss(kernel, logits, work, plain_value(base, penalties, labels))


def row_work(base: Base, penalties: Mapping[str, Penalty], logits: Tensor, labels: Labels) -> RowWork:
    """The terms' present constants and state. OLS makes room for its state if need be."""
    work = {"index": labels.index, "dense": labels.dense, "dense_smoothing": labels.smoothing}
    if isinstance(base, OnlineLabelSmoothing):
        base.prepare(logits)
        work |= {"alpha": base.alpha, "soft_labels": base.soft_labels}
        if base.training:
            work |= {"probability_sum": base.probability_sum, "correct_count": base.correct_count}
    else:
        work["smoothing"] = base.smoothing
    for penalty in penalties.values():
        if isinstance(penalty, SelectiveOutputSmoothing):
            work |= {"threshold": penalty.threshold, "beta": penalty.weight}
        else:
            weight = penalty.weight
            on_cpu = isinstance(weight, Tensor) and weight.device.type == "cpu"
            work["cp" if isinstance(penalty, ConfidencePenalty) else "maxsup"] = float(weight) if on_cpu else weight
    return RowWork(label_weight=LABEL_WEIGHT, **work)


def plain_value(base: Base, penalties: Mapping[str, Penalty], labels: Labels) -> Callable[[Tensor], Tensor]:
    """The same loss as a function of the logits, by torch operations and without counting anything."""

    def value(logits: Tensor) -> Tensor:
        logits = working_precision(logits)
        return sum((penalty(logits, labels)[0] for penalty in penalties.values()), base.value(logits, labels))

    return value
