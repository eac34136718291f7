"""Runs of train.py: in this process where one process is enough, as real processes elsewhere."""

from __future__ import annotations

import json
import os
import shutil
import subprocess
import sys
from pathlib import Path
from typing import Any

import torch
from accelerate.state import AcceleratorState, GradientState
from safetensors.torch import load_file

from sosr_timm.checkpoints.format import MANIFEST, checkpoint_folders
from sosr_timm.checkpoints.run_folder import RunFolder, claim_folder
from sosr_timm.distributed.processes import start_processes
from sosr_timm.options.load import load
from sosr_timm.options.train import TrainOptions
from sosr_timm.options.validate import ValidateOptions
from sosr_timm.tracking.metrics_log import read_lines
from sosr_timm.training.build import build_run
from sosr_timm.training.main import run_training
from sosr_timm.training.run import Run
from sosr_timm.validation.main import run_validation

ROOT = Path(__file__).resolve().parents[2]
# 56 of the digits, so that an epoch is a few updates.
SMALL = (
    *("--dataset", "digits", "--model", "cifar_resnet20", "--opt", "momentum", "--lr", "0.05", "--crop-padding", "1"),
    *("--train-num-samples", "56", "--val-num-samples", "40", "--batch-size", "8", "--validation-batch-size", "16"),
    *("--epochs", "2", "--warmup-epochs", "0", "--workers", "0", "--log-interval", "4"),
)

# A network of one block, where what is tested goes through every operation in Python.
TINY = (
    *("--model", "vit_tiny_patch16_224"),
    *("--model-kwargs", "img_size=8", "patch_size=4", "depth=1", "embed_dim=24", "num_heads=3"),
)


def train_here(*arguments: object) -> int:
    """Train in this process; returns the exit code."""
    AcceleratorState._reset_state(True)
    GradientState._reset_state()
    return run_training(load(TrainOptions, [str(argument) for argument in arguments]))


def validate(capsys, *arguments: object, code: int = 0) -> Any:
    """Evaluate in this process; returns the JSON that is the last line of standard output."""
    AcceleratorState._reset_state(True)
    GradientState._reset_state()
    capsys.readouterr()
    assert run_validation(load(ValidateOptions, [str(argument) for argument in arguments])) == code
    return json.loads(capsys.readouterr().out.splitlines()[-1])


def build_here(folder: Path, *arguments: object) -> Run:
    """A run in this process, built and not started."""
    AcceleratorState._reset_state(True)
    GradientState._reset_state()
    options = load(TrainOptions, [str(argument) for argument in arguments]).options
    return build_run(options, start_processes(device=options.run.device), claim_folder(folder, "run"))


def train_processes(*arguments: object, processes: int = 1, timeout: float = 300, **environment: str):
    """Train in processes of their own; returns what subprocess.run returns."""
    command = [sys.executable, "train.py"]
    if processes > 1:
        command = [sys.executable, "-m", "torch.distributed.run", "--standalone", "--nproc_per_node", str(processes)]
        command += ["train.py"]
    return subprocess.run(
        [*command, *map(str, arguments)],
        cwd=ROOT,
        env={**os.environ, "ACCELERATE_USE_CPU": "true", "OMP_NUM_THREADS": "1", **environment},
        capture_output=True,
        text=True,
        timeout=timeout,
        check=False,
    )


def free_port() -> int:
    import socket

    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        return free.getsockname()[1]


def only_run(output: Path) -> RunFolder:
    """The one run below a folder."""
    (path,) = [path for path in output.iterdir() if path.is_dir()]
    return RunFolder(path)


def copy_until(run: RunFolder, checkpoint: str, output: Path) -> RunFolder:
    """A copy of a run as it was when a checkpoint had just been written, its journal further on than that."""
    copy = RunFolder(output / run.path.name)
    shutil.copytree(run.path, copy.path, symlinks=True)
    for path in checkpoint_folders(copy.checkpoints):
        if path.name > checkpoint:
            shutil.rmtree(path)
    return copy


def tensors_of(checkpoint: Path) -> dict[str, torch.Tensor]:
    """Every tensor of a checkpoint, by file and name."""
    return {
        f"{path.name}:{name}": tensor
        for path in sorted(checkpoint.glob("*.safetensors"))
        for name, tensor in load_file(str(path)).items()
    }


def journal_of(run: RunFolder) -> tuple[str, list[dict]]:
    """The table, and the lines without their timing."""
    lines = [json.loads(text) for text in run.metrics.read_text().splitlines()]
    return run.summary.read_text(), [{k: v for k, v in line.items() if k != "timing"} for line in lines]


def progress_of(checkpoint: Path) -> dict:
    """What a checkpoint knows beside its tensors, without times."""
    content = json.loads((checkpoint / "run.json").read_text())
    content["progress"].pop("seconds")
    content.pop("journal")
    return content


def assert_same_run(first: RunFolder, second: RunFolder) -> None:
    """Both runs ended with the same weights, optimizer, loss, progress and journal, to the last bit."""
    one, two = checkpoint_folders(first.checkpoints)[0], checkpoint_folders(second.checkpoints)[0]
    assert one.name == two.name
    expected, found = tensors_of(one), tensors_of(two)
    assert expected.keys() == found.keys()
    different = [name for name, tensor in expected.items() if not torch.equal(tensor, found[name])]
    assert not different, f"{len(different)} of {len(expected)} tensors differ: {different[:5]}"
    assert progress_of(one) == progress_of(two)
    assert journal_of(first) == journal_of(second)
    assert (one / MANIFEST).is_file()


def read_lines_of(run: RunFolder) -> list[dict]:
    """The records of a run's metrics.jsonl."""
    return read_lines(run.metrics)
