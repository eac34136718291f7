"""The results of evaluations as a table in a file: timm's columns first, the best row first."""

from __future__ import annotations

import csv
import io
from pathlib import Path
from typing import Any

from sosr_timm.errors import UserError, one_line
from sosr_timm.files import must_write, replacing, write_json
from sosr_timm.metrics.confidence import OOD_SCORES
from sosr_timm.metrics.titles import MANY_LABELS, ONE_CLASS, SELECTIVE
from sosr_timm.text import markdown_table

FORMATS = {".csv": "csv", ".json": "json", ".md": "md"}
DIGITS = {name: title.digits for name, title in (ONE_CLASS | MANY_LABELS).items()}
DIGITS |= {"param_count": 2, "img_size": 0, "count": 0, "batch_size": 0, "images_per_second": 0}
TIMM_DIGITS = 4  # of percentages in a CSV file
DIGITS |= {name: title.digits for name, title in SELECTIVE.items()} | {"temperature": 3}
ROW_SELECTIVE = ("aurc", "augrc", "risk_at_80", "risk_at_90", "risk_at_95")
ROW_OOD = ("auroc", "fpr95")
CALIBRATION = ("ece", "ece_adaptive", "ece_classwise")
PERCENTAGES = ("top1", "top1_err", "top5", "top5_err", "map", "micro_f1", "macro_f1", "sample_f1")


def format_of(file: str, form: str | None) -> str:
    """The format of a results file: as given, else by its name, else timm's, CSV."""
    return form or FORMATS.get(Path(file).suffix.lower(), "csv")


def rows_of(
    record: dict[str, Any], average: str | None = None, checkpoint: str = "", confidence: str = "max_softmax"
) -> list[dict[str, Any]]:
    """A row for each set of weights of an evaluation.

    Args:
        record: of the evaluation, as in evaluation.json.
        average: of precision, recall and F1 ("macro", "micro", "weighted"); None: without them.
        checkpoint: that the weights came from.
        confidence: of the metrics of selective classification.

    Returns:
        timm's columns (`top1` to `top5_err` are those of the reassessed labels where there are such, as in timm), then
        ours; of many labels their own metrics come first. Nothing is rounded but the parameters, in millions: CSV files
        are rounded as timm's when they are written, JSON files are not.
    """
    form = record["image_format"]
    rows = []
    for title, metrics in record["weights"].items():
        row, own = {"model": record["subject"]}, ("loss", "ece", "ece_adaptive", "ece_classwise", "brier", "count")
        if "task" in record:
            row |= {name: metrics[name] for name in ("map", "micro_f1", "macro_f1", "sample_f1")}
            row["multilabel_threshold"], own = record["multilabel_threshold"], ("loss", "count")
        else:
            top = metrics.get("real_labels", metrics)
            for name in ("top1", "top5"):
                row |= {name: top[name], f"{name}_err": 100.0 - top[name]}
        if average:
            averages = metrics["averages"][average]
            names = {"precision": "precision", "recall": "recall", "f1": "f1_score"}
            row |= {f"{average}_{names[name]}": 100.0 * value for name, value in averages.items()}
        row |= {
            "param_count": round(record["parameters"] / 1e6, 2),
            "img_size": form["width"],
            "crop_pct": form["crop_pct"],
            "interpolation": form["interpolation"],
            "checkpoint": checkpoint,
            "weights": title,
            "data": record["data"],
            **{name: metrics[name] for name in own},
            **_selective(metrics, confidence),
            **_at_temperature(metrics),
            **_ood(metrics),
            "batch_size": record["batch_size"],
            "images_per_second": record["speed"][title]["images_per_second"],
            "error": "",
        }
        rows.append(row)
    return rows


def _selective(metrics: dict[str, Any], confidence: str) -> dict[str, Any]:
    if "selective" not in metrics:
        return {}
    found = metrics["selective"][confidence]
    return {"confidence": confidence, **{name: found[name] for name in ROW_SELECTIVE}}


def _at_temperature(metrics: dict[str, Any]) -> dict[str, Any]:
    """The calibration of the images that no temperature was fitted on, before and after it."""
    if "temperature" not in metrics:
        return {}
    found = metrics["temperature"]
    errors = {f"{name}_{when}": found[when][name] for name in CALIBRATION for when in ("before", "after")}
    return {"temperature": found["temperature"], **errors}


def _ood(metrics: dict[str, Any]) -> dict[str, Any]:
    """Detection of the other data set by each score: `ood_energy_auroc` and so on."""
    if "ood" not in metrics:
        return {}
    found = metrics["ood"]
    values = {f"ood_{score}_{name}": found[score][name] for score in OOD_SCORES for name in ROW_OOD}
    return {"ood_data": found["data"], **values}


def failed_row(name: str, checkpoint: str, error: BaseException) -> dict[str, Any]:
    """The row of a model that could not be evaluated."""
    said = one_line(error)
    text = said if isinstance(error, UserError) else f"{type(error).__name__}: {said}"
    return {"model": name, "checkpoint": checkpoint, "error": text}


def best_first(rows: list[dict[str, Any]]) -> list[dict[str, Any]]:
    """Rows by top-1, as timm sorts them, or by map; failed ones last, in their order."""
    return sorted(rows, key=lambda row: -row.get("top1", row.get("map", -1.0)))


def write_results(file: str, form: str, rows: list[dict[str, Any]], record: dict[str, Any] | None = None) -> None:
    """Write the results so that a crash leaves the old file or the new one.

    Args:
        file: path.
        form: "csv", "json" or "md".
        rows: of all evaluations.
        record: of the only evaluation there is; JSON then holds it instead of the rows.

    Raises:
        UserError: the file cannot be written.
    """
    with must_write(f"--results-file {file}"):
        if form == "json":
            write_json(file, record if record is not None else best_first(rows))
        else:
            text = (_csv if form == "csv" else _markdown)(best_first(rows))
            with replacing(file) as temporary:
                temporary.write_text(text, encoding="utf-8", newline="")


def _columns(rows: list[dict[str, Any]]) -> list[str]:
    """The columns of the fullest row."""
    return list(max(rows, key=len))


def _csv(rows: list[dict[str, Any]]) -> str:
    text = io.StringIO()
    writer = csv.DictWriter(text, _columns(rows), restval="", lineterminator="\n")
    writer.writeheader()
    writer.writerows({name: _rounded(name, value) for name, value in row.items()} for row in rows)
    return text.getvalue()


def _rounded(name: str, value: Any) -> Any:
    """Percentages as timm's validate.py rounds them; everything else as it is."""
    percentage = name in PERCENTAGES or name.startswith(("macro_", "micro_", "weighted_"))
    return round(value, TIMM_DIGITS) if percentage and isinstance(value, float) else value


def _markdown(rows: list[dict[str, Any]]) -> str:
    columns = [name for name in _columns(rows) if any(row.get(name, "") != "" for row in rows)]
    numbers = {name for name in columns if any(isinstance(row.get(name), (int, float)) for row in rows)}
    cells = [[_cell(name, row.get(name, "")) for name in columns] for row in rows]
    return markdown_table(columns, cells, numbers) + "\n"


def _cell(name: str, value: Any) -> str:
    if isinstance(value, (int, float)):
        return f"{value:,.{DIGITS.get(name, 4 if abs(value) < 2 else 2)}f}"
    return str(value)
