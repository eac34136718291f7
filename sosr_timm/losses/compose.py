"""A loss from its name: one base and its penalties, called like any criterion."""

from __future__ import annotations

import contextlib
from collections.abc import Callable, Sequence

import torch
from torch import Tensor, nn

from sosr_timm.losses.base import BASES, Base, Penalty, check_number, is_training, working_precision
from sosr_timm.losses.fused import fused_loss, plain_value
from sosr_timm.losses.keywords import context_of, keywords_of
from sosr_timm.losses.reminder import Reminder
from sosr_timm.losses.spec import LossSpec, TermSpec, builder_of, check_combination, parse_loss
from sosr_timm.losses.targets import Labels, read_target
from sosr_timm.losses.weights import as_rows, check_class_weight

# Asked once: torch 2.6 cannot compile the question.
AUTOCAST_DEVICES = tuple(
    name for name in ("cpu", "cuda", "mps", "xpu", "hpu", "mtia") if torch.amp.is_autocast_available(name)
)


def create_loss(
    spec: str | LossSpec,
    smoothing: float = 0.0,
    num_classes: int | None = None,
    *,
    multi_label: bool = False,
    soft_targets: bool = False,
    class_weight: Sequence[float] | Tensor | None = None,
    ignore_index: int | None = None,
) -> ComposedLoss:
    """Create a loss by name, for any script: `loss = create_loss("sosr"); loss(logits, target).backward()`.

    Args:
        spec: `base + penalty + penalty`, see `parse_loss`.
        smoothing: label smoothing in [0, 1). The base smooths class indices by it. Dense targets are smoothed already;
            for them it only tells labels from smoothing.
        num_classes: K, checked against the logits; None accepts any number.
        multi_label: targets are independent binary labels, (M, K) floats. For timm's own losses without penalties.
        soft_targets: only dense targets will come, so a base that does not support them is refused now.
        class_weight: (K,) numbers of at least 0, the weight of each class's -log p in the base, as torch's `weight`.
            For the bases that are cross entropies (`ce`, `ols`, `focal`, `logitnorm`); penalties do not use it.
        ignore_index: class index of samples that no term counts; None counts all samples. Not for timm's own losses.

    Returns:
        the loss, a module.

    Raises:
        ValueError: a faulty spec or hyper-parameter, two different values for the smoothing, a combination that no
            paper defines, or class weights or an index to ignore for a base that does not support them.
    """
    spec = spec if isinstance(spec, LossSpec) else parse_loss(spec)
    smoothing = check_number("smoothing", smoothing, 0.0, 1.0, below=True)
    if num_classes is not None and (type(num_classes) is not int or num_classes < 1):
        raise ValueError(f"num_classes must be an integer of at least 1 or None, got {num_classes!r}")
    spec, smoothing = settle_smoothing(spec, smoothing)
    check_combination(spec, smoothing, multi_label)
    if class_weight is not None:
        check_takes_class_weight(spec.base.name)
        class_weight = check_class_weight(class_weight, num_classes)
    context = {
        "num_classes": num_classes,
        "multi_label": multi_label,
        "soft_targets": soft_targets,
        "class_weight": class_weight,
    }
    base = build_term(spec.base, context)
    penalties = {term.name: build_term(term, context) for term in spec.penalties}
    if ignore_index is not None:
        if type(ignore_index) is not int:
            raise ValueError(f"ignore_index must be an integer or None, got {ignore_index!r}")
        if not base.WEIGHS_SAMPLES:
            raise ValueError(f"ignore_index is not supported by {spec.base.name}, which takes the mean by itself")
    return ComposedLoss(spec, base, penalties, smoothing, num_classes, multi_label, ignore_index)


def check_takes_class_weight(name: str) -> None:
    """Check that a base supports class weights.

    Raises:
        ValueError: it does not; the message names those that do.
    """
    if "class_weight" in keywords_of(builder_of(name)):
        raise ValueError(f"{name} has a class_weight of its own: write {name}(class_weight=[...])")
    if "class_weight" not in context_of(builder_of(name)):
        able = ", ".join(base for base in BASES if "class_weight" in context_of(builder_of(base)))
        raise ValueError(f"class_weight is not supported by {name}, only by {able}")


def settle_smoothing(spec: LossSpec, smoothing: float) -> tuple[LossSpec, float]:
    """Merge the `smoothing` argument with the base's keyword; an argument of 0 counts as not given."""
    stated = spec.base.keywords.get("smoothing")
    if stated is None:
        return spec, smoothing
    if "smoothing" in spec.base.given:
        if smoothing and stated != smoothing:
            raise ValueError(
                f"smoothing is {smoothing:g} as an argument and {stated:g} in {spec.base.name}(smoothing=...)"
            )
        return spec, stated
    return LossSpec(spec.base.having(smoothing=smoothing), spec.penalties), smoothing


def build_term(term: TermSpec, context: dict[str, object]) -> Base | Penalty:
    """Construct a term with its keywords and with the parts of `context` that it asks for.

    Raises:
        ValueError: a hyper-parameter out of range; the message begins with the term's name.
    """
    builder = builder_of(term.name)
    wanted = {name: context[name] for name in context_of(builder)}
    try:
        return builder(**term.keywords, **wanted)
    except ValueError as error:
        raise ValueError(f"{term.name}: {error}") from error


class ComposedLoss(nn.Module):
    """The sum of a base and its penalties.

    Attributes:
        full_form: the loss with all defaults written out; `create_loss(full_form)` creates the same loss, given the
            same other arguments.
        parts: detached scalars of the last call: the contribution of each term under its name, and what terms report
            beside it, such as `selected`, the share of rows that SOSR levels.
        reminder: warns where training continues without the calls that a term needs, see `Reminder`. None where no term
            needs any; set it to None to switch the warnings off.
    """

    def __init__(
        self,
        spec: LossSpec,
        base: Base,
        penalties: dict[str, Penalty],
        smoothing: float = 0.0,
        num_classes: int | None = None,
        multi_label: bool = False,
        ignore_index: int | None = None,
    ):
        super().__init__()
        self.spec = spec
        self.full_form = str(spec)
        self.smoothing = smoothing
        self.num_classes = num_classes
        self.multi_label = multi_label
        self.ignore_index = ignore_index
        self.base = base
        self.penalties = nn.ModuleDict(penalties)
        self.parts: dict[str, Tensor] = {}
        passes = [name for name, term in self.terms.items() if term.NEEDS_END_EPOCH]
        schedules = [name for name, term in self.terms.items() if term.follows_progress]
        self.reminder = Reminder(passes, schedules) if passes or schedules else None

    def forward(self, logits: Tensor, target: Tensor, sample_weight: Tensor | None = None) -> Tensor:
        """Compute the loss of a batch, in float32 for half-precision logits, with and without autocast.

        Args:
            logits: (M, K) floating point, or (N, K, d1, ...), where each position is a sample.
            target: (M,) integers, or (M, K) floats as timm's Mixup and CutMix make them. With (N, K, d1, ...) logits,
                (N, d1, ...) integers or (N, K, d1, ...) floats.
            sample_weight: (M,) numbers of at least 0: a sample of weight n counts as n samples of weight 1, in every
                term. With (N, K, d1, ...) logits, (N, d1, ...), or (N,) for all positions of each image.

        Returns:
            scalar, float32 or float64; 0, with a gradient of 0, where no sample counts.

        Raises:
            ValueError: shapes or dtypes that do not match, see `read_target`, or sample weights for a base of timm.
        """
        if isinstance(logits, Tensor) and logits.ndim > 2:
            logits, target, sample_weight = as_rows(logits, target, sample_weight)
        labels = self.read_labels(logits, target, sample_weight)
        if self.reminder is not None:
            self.notice_batch(logits)
        with without_autocast(logits.device.type):
            fused = fused_loss(self.base, self.penalties, logits, labels)
            value, parts = fused if fused is not None else self.composed(working_precision(logits), labels)
        self.parts = {self.spec.base.name: parts.pop("base"), **parts}
        return value

    def notice_batch(self, logits: Tensor) -> None:
        """Report a batch to the reminder: training or evaluation."""
        training = is_training(self, logits)
        if torch.compiler.is_compiling():
            if training:
                self.reminder.trained = True
        elif training:
            self.reminder.training_batch(len(logits))
        else:
            self.reminder.evaluation()

    def train(self, mode: bool = True) -> ComposedLoss:
        """Set training or evaluation mode, as for any module."""
        if self.reminder is not None:
            self.reminder.train_called() if mode else self.reminder.evaluation()
        return super().train(mode)

    def composed(self, logits: Tensor, labels: Labels) -> tuple[Tensor, dict[str, Tensor]]:
        """Compute the terms one after the other: the readable path, which the row kernels are tested against."""
        value, logged = self.base(logits, labels)
        parts = {"base": value.detach(), **logged}
        for name, penalty in self.penalties.items():
            share, logged = penalty(logits, labels)
            parts = {**parts, name: share.detach(), **logged}
            value = value + share
        return value, parts

    def gradient(self, logits: Tensor, target: Tensor) -> Tensor:
        """Compute the gradient of the loss of a batch at its logits by torch operations, without counting the batch.

        For where autograd's own is out of reach, as in a compiled training step.

        Args:
            logits: (M, K) floating point; their graph is not touched.
            target: as in `forward`.

        Returns:
            (M, K), float32 for half-precision logits.
        """
        labels = self.read_labels(logits, target)
        with torch.enable_grad(), without_autocast(logits.device.type):
            leaf = working_precision(logits.detach()).requires_grad_()
            return torch.autograd.grad(plain_value(self.base, self.penalties, labels)(leaf), leaf)[0]

    def read_labels(self, logits: Tensor, target: Tensor, sample_weight: Tensor | None = None) -> Labels:
        """Read the target of (M, K) logits and check it against the arguments of the loss.

        Raises:
            ValueError: they do not match, see `read_target`.
        """
        if sample_weight is not None and not self.base.WEIGHS_SAMPLES:
            raise ValueError(f"sample_weight is not supported by {self.spec.base.name}, which takes the mean by itself")
        smoothing = 0.0 if self.multi_label else self.smoothing
        labels = read_target(logits, target, smoothing, self.ignore_index, sample_weight)
        if self.num_classes is not None and labels.num_classes != self.num_classes:
            raise ValueError(f"logits have {labels.num_classes} classes, the loss was made for {self.num_classes}")
        if self.multi_label and labels.dense is None:
            raise ValueError("multi-label targets must be floats of shape (M, K)")
        return labels

    @property
    def terms(self) -> dict[str, Base | Penalty]:
        """The base and the penalties by name."""
        return {self.spec.base.name: self.base, **self.penalties}

    @property
    def additive_state(self) -> tuple[str, ...]:
        """Keys of `state_dict` that `end_epoch` sums over the processes."""
        places = {"base": self.base, **{f"penalties.{name}": term for name, term in self.penalties.items()}}
        return tuple(f"{place}.{name}" for place, term in places.items() for name in term.ADDITIVE)

    def set_progress(self, progress: float) -> None:
        """Set how far training is; call it before each epoch.

        Args:
            progress: epoch / (epochs - 1), 0 in the first epoch and 1 in the last.

        Raises:
            ValueError: `progress` is outside [0, 1].
        """
        progress = check_number("progress", progress, 0.0, 1.0)
        for term in self.terms.values():
            term.set_progress(progress)
        if self.reminder is not None:
            self.reminder.progress()

    def end_epoch(self, sum_over_ranks: Callable[[Tensor], Tensor] | None = None) -> None:
        """End an epoch of training: OLS takes its new soft labels. All processes must call it, after each epoch.

        Args:
            sum_over_ranks: returns the sum of a tensor over all processes; None with one process.
        """
        with torch.no_grad():
            for term in self.terms.values():
                term.end_epoch(sum_over_ranks)
        if self.reminder is not None:
            self.reminder.end_epoch()

    def extra_repr(self) -> str:
        return self.full_form


def without_autocast(device_type: str) -> contextlib.AbstractContextManager:
    """Context with autocast off, where the device has it: it would multiply matrices in bfloat16."""
    if device_type not in AUTOCAST_DEVICES:
        return contextlib.nullcontext()
    # Leaving it off costs a loss of 128 x 100 logits a few per cent; a compiler pays nothing, and may not ask.
    if not torch.compiler.is_compiling() and not torch.is_autocast_enabled(device_type):
        return contextlib.nullcontext()
    return torch.autocast(device_type, enabled=False)
