"""Runs of sosr-detect on a few drawn shapes in VOC's layout."""

from __future__ import annotations

from pathlib import Path

import numpy as np
from accelerate.state import AcceleratorState, GradientState

from sosr_timm.checkpoints.run_folder import claim_folder
from sosr_timm.detection.build import build_detection
from sosr_timm.detection.main import run_detection
from sosr_timm.detection.run import DetectionRun
from sosr_timm.distributed.processes import start_processes
from sosr_timm.options.detection import DetectionOptions
from sosr_timm.options.load import load
from tools.fashion_scenes import make_scene, write_list

SHAPES = ("car", "cat", "cow")  # classes of VOC: a filled box, a ring, a triangle
BACKBONE = ("--model", "resnet10t", "--no-pretrained", "--model-kwargs", "channels=(8,8,16,16)", "stem_width=8")
# 9 images to train on, so that an epoch has 4 updates.
SMALL = (
    *BACKBONE,
    *("--pyramid-channels", "8", "--min-side", "64", "--max-side", "64", "--epochs", "2", "--lr", "1e-3"),
    *("--workers", "0", "--log-interval", "2", "--pictures", "2", "--no-freeze-bn"),
)


def shapes() -> tuple[np.ndarray, np.ndarray]:
    """(3, 28, 28) bytes and (3,) labels."""
    rows, columns = np.mgrid[:28, :28]
    radius = np.hypot(rows - 13.5, columns - 13.5)
    drawn = [(rows > 3) & (rows < 24), (radius < 13) & (radius > 7), columns <= rows]
    return np.stack(drawn).astype(np.uint8) * 220, np.arange(3)


def write_shapes(directory: Path, train: int = 9, test: int = 4, side: int = 64) -> Path:
    """A directory with the three lists that sosr-detect reads by default."""
    items, labels = shapes()
    for number, (year, name, count, first) in enumerate(
        [("2007", "trainval", train // 2, 1), ("2012", "trainval", train - train // 2, 1), ("2007", "test", test, 100)]
    ):
        draw = np.random.default_rng(number)
        scenes = [make_scene(draw, items, labels, SHAPES, side, 3, (18, 30)) for _ in range(count)]
        write_list(directory, year, name, scenes, first)
    return directory


def detect(*arguments: object) -> int:
    """Run sosr-detect in this process; returns the exit code."""
    _reset()
    return run_detection(load(DetectionOptions, [str(argument) for argument in arguments]))


def build_here(folder: Path, *arguments: object) -> DetectionRun:
    """A run in this process, built and not started."""
    _reset()
    options = load(DetectionOptions, [str(argument) for argument in arguments]).options
    return build_detection(options, start_processes(), claim_folder(folder, "run"))


def _reset() -> None:
    AcceleratorState._reset_state(True)
    GradientState._reset_state()
