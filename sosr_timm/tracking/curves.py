"""The curves of a run as one picture, curves.png from summary.csv."""

from __future__ import annotations

import csv
import os
from pathlib import Path

from sosr_timm.errors import UserError
from sosr_timm.metrics.plots import BLUE, GREEN, GREY, RED, legend_below, new_plot, save_plot
from sosr_timm.metrics.titles import MANY_LABELS, ONE_CLASS

CURVES = "curves.png"
Points = tuple[list[int], list[float]]
# What is drawn: column of summary.csv, its name in the legend, its colour.
Line = tuple[str, str, str]


def draw_curves(summary: Path, path: str | os.PathLike, title: str) -> None:
    """Draw loss, accuracy, over-confidence and learning rate over the epochs.

    Over-confidence is the share of the training samples that SOSR selects, or for another loss the calibration error
    of the evaluation.

    Args:
        summary: summary.csv of a run.
        path: of the PNG; written completely or not at all.
        title: of the picture.

    Raises:
        UserError: the table is damaged.
        OSError: the picture cannot be written.
    """
    try:
        with open(summary, newline="", encoding="utf-8") as file:
            rows = list(csv.DictReader(file))
        found = {name: points for name in (rows[0] if rows else ()) if (points := _points(rows, name))[0]}
    except (OSError, ValueError, KeyError, TypeError) as error:
        raise UserError(f"{summary} cannot be read ({error})") from None
    found = _by_weights(found)
    panels = _panels(found)
    if not panels:
        raise UserError(f"{summary} cannot be read (no epoch in it)")
    figure = new_plot(title, (9, 3 * ((len(panels) + 1) // 2) + 0.6))
    all_axes = figure.subplots((len(panels) + 1) // 2, 2, squeeze=False).flatten()
    for axes, (heading, unit, lines) in zip(all_axes, panels, strict=False):
        _draw(axes, heading, unit, [(found[column], name, colour) for column, name, colour in lines])
    for axes in all_axes[len(panels) :]:
        axes.set_visible(False)
    legend_below(figure)
    save_plot(figure, path)


def _by_weights(found: dict[str, Points]) -> dict[str, Points]:
    """Columns with the suffix _ema for the EMA's values, which today's tables have under the plain name, as timm's."""
    raw = {name for name in found if name.endswith("_raw")}
    of_ema = {name.removesuffix("_raw") for name in raw}
    suffixed = {f"{name}_ema" if name in of_ema else name: points for name, points in found.items() if name not in raw}
    return suffixed | {name.removesuffix("_raw"): found[name] for name in raw}


def _panels(found: dict[str, Points]) -> list[tuple[str, str, list[Line]]]:
    """Title, unit of the axis and lines of each panel that has something to show."""
    panels = _of_detection() if "eval_map_area" in found else _of_classification(found)
    kept = ((heading, unit, [line for line in lines if line[0] in found]) for heading, unit, lines in panels)
    return [panel for panel in kept if panel[2]]


def _of_detection() -> list[tuple[str, str, list[Line]]]:
    parts = [("train_loss", "both", BLUE), ("train_classification", "classes", RED), ("train_box", "boxes", GREEN)]
    ways = [("eval_map_11point", "at 11 points of recall", BLUE), ("eval_map_area", "area under the curve", RED)]
    of_ema = [("eval_map_11point_ema", "EMA, 11 points", GREEN), ("eval_map_area_ema", "EMA, area", GREY)]
    return [
        ("training loss", "loss", parts),
        ("mean average precision of the evaluation", "mAP %", ways + of_ema),
        ("learning rate", "learning rate", [("lr", "learning rate", GREY)]),
    ]


def _of_classification(found: dict[str, Points]) -> list[tuple[str, str, list[Line]]]:
    accuracy = ONE_CLASS["top1"] if "eval_top1" in found else MANY_LABELS["map"]
    column = "eval_top1" if "eval_top1" in found else "eval_map"
    loss = (ONE_CLASS if "eval_top1" in found else MANY_LABELS)["loss"]
    overconfidence = (
        ("over-confident training samples", "share", [("train_selected", "training", BLUE)])
        if "train_selected" in found
        else ("calibration error", ONE_CLASS["ece"].name, _evaluated("eval_ece"))
    )
    return [
        (f"loss (evaluation: {loss.name})", "loss", [("train_loss", "training", BLUE), *_evaluated("eval_loss")]),
        (accuracy.full, accuracy.heading, _evaluated(column)),
        overconfidence,
        ("learning rate", "learning rate", [("lr", "training", BLUE)]),
    ]


def _evaluated(column: str) -> list[Line]:
    return [(column, "evaluation", RED), (f"{column}_ema", "evaluation of the EMA", GREEN)]


def _points(rows: list[dict[str, str]], name: str) -> Points:
    """Epochs, counted from 0, and values; an epoch without evaluation has none."""
    known = [(int(row["epoch"]), float(row[name])) for row in rows if row[name]]
    return [epoch for epoch, _ in known], [value for _, value in known]


def _draw(axes, heading: str, unit: str, lines: list[tuple[Points, str, str]]) -> None:
    from matplotlib.ticker import MaxNLocator

    for points, name, colour in lines:
        axes.plot(*points, marker="o", markersize=3, linewidth=1.3, color=colour, label=name)
    axes.set_title(heading, fontsize=10)
    axes.set(xlabel="epoch", ylabel=unit)
    axes.xaxis.set_major_locator(MaxNLocator(integer=True))
    axes.grid(color="#dddddd", linewidth=0.6)
    axes.spines[["top", "right"]].set_visible(False)
