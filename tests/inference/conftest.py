"""A run on image files, for predictions and exports."""

from pathlib import Path

import pytest

from sosr_timm.checkpoints.run_folder import RunFolder
from tests.data.images import class_folders
from tests.training.harness import only_run, train_here

CLASSES = ("cat", "dog", "emu")


@pytest.fixture(scope="session")
def images(tmp_path_factory) -> Path:
    """images/train/CLASS and images/val/CLASS, 12 pictures each."""
    return class_folders(tmp_path_factory.mktemp("data") / "images", CLASSES, each=12)


@pytest.fixture(scope="session")
def run(images, tmp_path_factory) -> RunFolder:
    """A short run of a small network on them, with EMA weights."""
    output = tmp_path_factory.mktemp("runs")
    arguments = (
        "--model",
        "cifar_resnet20",
        "--img-size",
        "16",
        "--crop-pct",
        "0.8",
        "--epochs",
        "2",
        "--batch-size",
        "8",
    )
    ema = ("--model-ema", "--model-ema-decay", "0.5", "--warmup-epochs", "0", "--workers", "0")
    assert train_here(images, *arguments, *ema, "--output", output) == 0
    return only_run(output)
