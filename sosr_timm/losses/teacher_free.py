"""Teacher-free distillation (Tf-KD): a made-up teacher that gives the label a fixed probability.

Source: Yuan et al. 2020, "Revisiting Knowledge Distillation via Label Smoothing Regularization", arXiv 1909.11723,
section 4 (the manually designed teacher), and its code.
"""

from __future__ import annotations

import functools
import math
from dataclasses import dataclass

from torch import Tensor

from sosr_timm.losses.base import BASES, Base, check_number
from sosr_timm.losses.cross_entropy import cross_entropy
from sosr_timm.losses.targets import Labels
from sosr_timm.registry import close_names

LARGEST_EXPONENT = 700.0  # exp of more than 709 overflows


@dataclass(frozen=True)
class Teacher:
    """A distribution with one probability for the label and another for every other class.

    Attributes:
        label: probability of the label.
        other: probability of each of the K - 1 other classes.
        negative_entropy: the sum over all classes of t log t, in nats.
    """

    label: float
    other: float
    negative_entropy: float


@functools.cache
def made_up_teacher(correct: float, temperature: float, num_classes: int, form: str) -> Teacher:
    """The teacher t = correct on the label and (1 - correct) / (K - 1) elsewhere, softened.

    Args:
        correct: in (0, 1].
        temperature: T, more than 0.
        num_classes: K.
        form: "paper" for t^(1/T), normalized; "code" for softmax(t / T), as if the probabilities were logits.

    Returns:
        the softened distribution.
    """
    others = num_classes - 1
    other = (1.0 - correct) / others if others else 0.0
    if form == "code":
        exponent = (other - correct) / temperature
    else:
        exponent = math.log(other / correct) / temperature if other > 0.0 else -math.inf
    ratio = math.exp(min(exponent, LARGEST_EXPONENT))
    label = 1.0 / (1.0 + others * ratio)
    other = ratio * label
    terms = [(1, label), (others, other)]
    return Teacher(label, other, sum(count * t * math.log(t) for count, t in terms if count and t > 0.0))


@BASES.register("tfkd")
class TeacherFreeDistillation(Base):
    """(1 - alpha) * cross entropy + alpha * multiplier * divergence from the made-up teacher.

    The divergence is, by `form`,
    - "code": the mean over all M * K entries of t log(t / p), with p at temperature 1, as in the authors' code and in
      the one behind the OLS paper's table VI;
    - "paper": the mean over the M samples of the sum over the classes, with p at the teacher's temperature (equations 5
      and 9; the code divides by K more, and leaves p as it is).

    Args:
        alpha: weight of the teacher, in [0, 1].
        temperature: T, more than 0; 40 for MobileNetV2, 6 for ResNet-50 in the OLS paper's code.
        correct: the teacher's probability of the label before it is softened, in (0, 1].
        multiplier: of the teacher's part, at least 0; 100 for ResNet-18 in the authors' code.
        form: "code" or "paper".

    Raises:
        ValueError: a hyper-parameter out of range, or an unknown form.
    """

    WEIGHS_SAMPLES = True
    FORMS = ("code", "paper")

    def __init__(
        self,
        alpha: float = 0.95,
        temperature: float = 40.0,
        correct: float = 0.99,
        multiplier: float = 1.0,
        form: str = "code",
    ):
        super().__init__()
        self.alpha = check_number("alpha", alpha, 0.0, 1.0)
        self.temperature = check_number("temperature", temperature, low=0.0, above=True)
        self.correct = check_number("correct", correct, 0.0, 1.0, above=True)
        self.multiplier = check_number("multiplier", multiplier, low=0.0)
        if form not in self.FORMS:
            raise ValueError(f"unknown form {form!r}: {close_names(str(form), self.FORMS)}")
        self.form = form

    def forward(self, logits: Tensor, labels: Labels) -> tuple[Tensor, dict[str, Tensor]]:
        return self.value(logits, labels), {}

    def value(self, logits: Tensor, labels: Labels) -> Tensor:
        return labels.mean(self.per_sample(logits, labels))

    def teacher(self, num_classes: int) -> Teacher:
        """The softened teacher of K classes."""
        return made_up_teacher(self.correct, self.temperature, num_classes, self.form)

    def per_sample(self, logits: Tensor, labels: Labels) -> Tensor:
        """(M,) in nats; a mixed sample has the teachers of its labels, by their weights."""
        teacher = self.teacher(logits.shape[1])
        log_p = logits.log_softmax(dim=1)
        softened = log_p if self.form == "code" else (logits / self.temperature).log_softmax(dim=1)
        mass = 1.0 if labels.dense is None else labels.dense.to(logits.dtype).sum(dim=1)
        agreement = teacher.other * mass * softened.sum(dim=1)
        agreement = agreement - (teacher.label - teacher.other) * cross_entropy(softened, labels)
        divergence = teacher.negative_entropy * mass - agreement
        if self.form == "code":
            divergence = divergence / logits.shape[1]
        return (1.0 - self.alpha) * cross_entropy(log_p, labels) + self.alpha * self.multiplier * divergence
