"""A picture of detections beside the objects that are there."""

from __future__ import annotations

import os

import numpy as np
from torch import nn

from sosr_timm.detection.average_precision import IOU, Detections, overlaps
from sosr_timm.detection.batches import load_image
from sosr_timm.detection.run import DetectionRun
from sosr_timm.detection.voc import Scene
from sosr_timm.errors import reason_of
from sosr_timm.metrics.plots import new_plot, save_plot
from sosr_timm.tracking.console import logger

PICTURE = "detections.png"
SHOWN = 0.3  # score of the weakest detection that is drawn
ACROSS = 4
# Of the palette of Okabe and Ito, which colour-blind people can tell apart.
FOUND, THERE = "#0072b2", "#e69f00"


def draw_detections_of(run: DetectionRun, model: nn.Module) -> None:
    """Draw the detections in some evaluation images, spread over the set, into the run's folder.

    Every process may call it, the main one draws. A picture that cannot be written does not fail the run.
    """
    count = min(run.options.run.pictures, len(run.evaluated))
    if not run.processes.is_main or not count:
        return
    chosen = [position * len(run.evaluated) // count for position in range(count)]
    scenes = [run.evaluated.scenes[index] for index in chosen]
    path = run.folder.path / PICTURE
    try:
        found = [run.detections_in(model, index) for index in chosen]
        draw_detections(path, scenes, found, run.evaluated.classes, run.folder.path.name)
    except OSError as error:
        logger.warning("%s not written (%s)", PICTURE, reason_of(error))


def draw_detections(
    path: str | os.PathLike, scenes: list[Scene], found: list[Detections], classes: tuple[str, ...], title: str
) -> None:
    """Draw images with their objects and detections.

    Args:
        path: of the PNG; written completely or not at all.
        scenes: the images.
        found: detections of each.
        classes: names.
        title: of the picture.
    """
    from matplotlib.lines import Line2D

    across = min(ACROSS, len(scenes))
    down = -(-len(scenes) // across)
    figure = new_plot(title, (3.0 * across + 0.4, 3.1 * down + 0.9))
    all_axes = figure.subplots(down, across, squeeze=False).flatten()
    for axes in all_axes:
        axes.set_axis_off()
    for axes, scene, detections in zip(all_axes, scenes, found, strict=False):
        image = load_image(scene, "RGB")
        axes.imshow(image)
        axes.set_title(scene.name, fontsize=8)
        for box, difficult in zip(scene.boxes, scene.difficult, strict=True):
            _draw_box(axes, box, THERE, 2.6, ":" if difficult else "-")
        for index in drawn(detections):
            box, label, score = (part[index] for part in detections)
            _draw_box(axes, box, FOUND, 1.3, "-")
            _write(axes, box, f"{classes[label]} {score:.2f}")
    lines = {"object": (THERE, 2.6, "-"), f"strongest detection, score {SHOWN} or more": (FOUND, 1.3, "-")}
    if any(scene.difficult.any() for scene in scenes):
        lines["difficult object"] = (THERE, 2.6, ":")
    handles = [Line2D([], [], color=c, linewidth=w, linestyle=s, label=name) for name, (c, w, s) in lines.items()]
    figure.legend(handles=handles, loc="outside lower center", ncols=len(handles), frameon=False, fontsize=8)
    save_plot(figure, path)


def drawn(detections: Detections) -> list[int]:
    """The detections that a picture shows: the strongest one at each place, so that labels can be read."""
    chosen: list[int] = []
    for index in np.argsort(-detections.scores, kind="stable"):
        if detections.scores[index] < SHOWN:
            break
        if not chosen or overlaps(detections.boxes[index], detections.boxes[chosen]).max() < IOU:
            chosen.append(int(index))
    return chosen


def _draw_box(axes, box, colour: str, width: float, style: str) -> None:
    from matplotlib.patches import Rectangle

    left, top, right, bottom = (float(value) - 0.5 for value in box)  # imshow's pixels are around whole numbers
    axes.add_patch(
        Rectangle((left, top), right - left, bottom - top, fill=False, color=colour, linewidth=width, linestyle=style)
    )


def _write(axes, box, text: str) -> None:
    """A label at the upper edge of a box, inside of the image."""
    axes.text(
        max(0.0, float(box[0])),
        max(0.0, float(box[1])),
        text,
        fontsize=6.5,
        color="white",
        verticalalignment="top",
        clip_on=True,
        bbox={"facecolor": FOUND, "edgecolor": "none", "pad": 0.8},
    )
