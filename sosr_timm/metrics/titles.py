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

    def value_or_dash(self, value: float | None) -> str:
        """The value, or a dash where there is none."""
        return "-" if value is None else self.value(value)

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
# Selective classification by one confidence.
SELECTIVE = {
    "aurc": Title("AURC", 5, full="Area under the risk-coverage curve", lower_is_better=True),
    "e_aurc": Title("E-AURC", 5, full="AURC above that of a perfect ranking", lower_is_better=True),
    "augrc": Title("AUGRC", 5, full="Area under the generalised risk-coverage curve", lower_is_better=True),
    "risk_at_80": Title("risk@80", 4, full="Error rate at 80 % coverage", lower_is_better=True),
    "risk_at_90": Title("risk@90", 4, full="Error rate at 90 % coverage", lower_is_better=True),
    "risk_at_95": Title("risk@95", 4, full="Error rate at 95 % coverage", lower_is_better=True),
    "auroc": Title("AUROC", 4, full="Area under the ROC of right against wrong predictions"),
}
ADAPTIVE = Title("adaptive ECE", 4, full="Calibration error, bins of equal mass", lower_is_better=True)
CLASSWISE = Title("class-wise ECE", 4, full="Class-wise expected calibration error", lower_is_better=True)
# Images of another data set told from those of the own one by a score.
OUT_OF_DISTRIBUTION = {
    "auroc": Title("AUROC", 4, full="Area under the ROC of own against other images"),
    "fpr95": Title("FPR95", 4, full="Share of other images accepted with 95 % of the own", lower_is_better=True),
    "aupr_in": Title("AUPR in", 4, full="Average precision, own images positive"),
    "aupr_out": Title("AUPR out", 4, full="Average precision, other images positive"),
}
# Of the images that no temperature was fitted on.
TEMPERATURE = {
    "temperature": Title("T", 3, full="Fitted temperature"),
    "ece_before": Title("ECE before T", 4, full="Calibration error, held out, at T = 1", lower_is_better=True),
    "ece_after": Title("ECE after T", 4, full="Calibration error, held out, at the fitted T", lower_is_better=True),
}
# Confidences as people read them.
CONFIDENCE_NAMES = {
    "max_softmax": "max softmax",
    "max_logit": "max logit",
    "margin": "margin",
    "entropy": "entropy",
    "p_norm": "max logit, p-norm",
    "energy": "energy",
}
DETECTION = {
    "map_11point": Title("mAP, 11 points", 2, "%", "Mean average precision at 11 points of recall (VOC 2007)"),
    "map_area": Title("mAP, area", 2, "%", "Mean average precision, area under the curve (VOC 2010 on)"),
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
