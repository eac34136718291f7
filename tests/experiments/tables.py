"""Small tables for tests, and a runner in this process."""

from pathlib import Path

from experiments.command_line import read_arguments
from experiments.run_table import run_table

TINY = """\
title: two losses on 64 digits
metric: top1_best
recipe: digits
training_images: 64
seeds: 2
against: ce
options: {epochs: 2, train_num_samples: 64, val_num_samples: 40, batch_size: 16}
rows:
- {model: cifar_resnet20, method: ce, loss: ce}
- {model: cifar_resnet20, method: sosr, loss: sosr}
"""


def write_table(folder: Path, text: str = TINY, name: str = "tiny") -> Path:
    path = folder / f"{name}.yaml"
    path.write_text(text, encoding="utf-8")
    return path


def run_here(*words: object) -> int:
    """`run` in this process; its runs are processes of their own."""
    parsed, extra = read_arguments(["run", *map(str, words)])
    return run_table(parsed, extra)
