"""How people read a metric: its title, unit and digits, wherever it is shown."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True)
class Title:
    """A metric as people read it.

    Attributes:
        name: short, as in a table's heading, without the unit.
        digits: decimal places.
        unit: "%" or nothing.
        full: in words.
        lower_is_better: for losses and errors.
    """

    name: str
    digits: int
    unit: str = ""
    full: str = ""
    lower_is_better: bool = False

    @property
    def heading(self) -> str:
        """Name and unit: `top-1 %`."""
        return f"{self.name} {self.unit}".rstrip()

    def value(self, value: float) -> str:
        """The value with the metric's digits, without the unit: `98.61`."""
        return f"{value:,.{self.digits}f}"

    def text(self, value: float) -> str:
        """Name, value and unit: `top-1 98.61 %`."""
        return f"{self.name} {self.value(value)} {self.unit}".rstrip()


ONE_CLASS = {
    "top1": Title("top-1", 2, "%", "Top-1 accuracy"),
    "top5": Title("top-5", 2, "%", "Top-5 accuracy"),
    "loss": Title("NLL", 4, full="Negative log-likelihood (nats)", lower_is_better=True),
    "ece": Title("ECE", 4, full="Expected calibration error", lower_is_better=True),
    "brier": Title("Brier", 4, full="Brier score", lower_is_better=True),
}
MANY_LABELS = {
    "map": Title("mAP", 2, "%", "Mean average precision"),
    "micro_f1": Title("micro F1", 2, "%", "F1 over all labels together"),
    "macro_f1": Title("macro F1", 2, "%", "Mean F1 over labels"),
    "sample_f1": Title("sample F1", 2, "%", "Mean F1 over images"),
    "loss": Title("BCE", 4, full="Binary cross entropy (nats)", lower_is_better=True),
}
AVERAGES = {
    "precision": Title("precision", 2, "%"),
    "recall": Title("recall", 2, "%"),
    "f1": Title("F1", 2, "%"),
}
# What names the best epoch of a run that evaluates nothing.
TRAINING = {"train_loss": Title("train loss", 4, full="Training loss", lower_is_better=True)}
LOWER_IS_BETTER = tuple(name for name, title in (ONE_CLASS | MANY_LABELS | TRAINING).items() if title.lower_is_better)
WEIGHTS = {"weights": "model", "ema": "EMA"}  # the sets of weights of a record, as people read them


def titles(multi_label: bool = False, num_classes: int | None = None) -> dict[str, Title]:
    """The metrics of a task that are worth showing, by name, in order.

    Args:
        multi_label: any number of labels per image, not one class.
        num_classes: where known; with five or fewer the label is always among the five best, so top-5 is left out.
    """
    if multi_label:
        return MANY_LABELS
    few = num_classes is not None and num_classes <= 5
    return {name: title for name, title in ONE_CLASS.items() if not (few and name == "top5")}
