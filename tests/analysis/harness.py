"""Small runs to analyse, and the command in this process."""

from __future__ import annotations

import csv
import json
from pathlib import Path
from typing import Any

import pytest
from accelerate.state import AcceleratorState, GradientState
from PIL import Image

from sosr_timm.analysis.main import run_analysis
from sosr_timm.errors import UserError
from tests.training.harness import SMALL, TINY, train_here


def train_small(output: Path, name: str, *arguments: object) -> Path:
    """The folder of a run of two epochs on 56 digits, with what --record-confidence records."""
    words = (*SMALL, *TINY, "--record-confidence", "clean", "--output", output, "--experiment", name, *arguments)
    assert train_here(*words) == 0
    return output / name


def analyze(output: Path, name: str, *arguments: object) -> dict[str, Any]:
    """Run an analysis; returns its JSON, after every file that it names was found to be one."""
    AcceleratorState._reset_state(True)
    GradientState._reset_state()
    assert run_analysis(name, [*map(str, arguments), "--output", str(output)]) == 0
    for plot in output.glob("*.png"):
        with Image.open(plot) as image:
            assert min(image.size) > 300
    return json.loads((output / f"{name}.json").read_text())


def rows_of(output: Path, name: str) -> list[dict[str, str]]:
    """The CSV of an analysis."""
    with open(output / f"{name}.csv", newline="") as file:
        return list(csv.DictReader(file))


def refused(message: str, name: str, *arguments: object) -> None:
    """An analysis ends with one line that matches this pattern, and exit code 2."""
    AcceleratorState._reset_state(True)
    GradientState._reset_state()
    with pytest.raises(UserError, match=message) as caught:
        run_analysis(name, [str(argument) for argument in arguments])
    assert "\n" not in str(caught.value)
