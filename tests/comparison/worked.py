"""Comparisons of tiny runs in this process, where processes of their own would take seconds each to start."""

from __future__ import annotations

import subprocess
from pathlib import Path
from types import SimpleNamespace

from accelerate.state import AcceleratorState, GradientState

from sosr_timm.comparison import main, worker
from sosr_timm.errors import UserError
from sosr_timm.options.compare import CompareOptions
from sosr_timm.options.load import load
from sosr_timm.options.train import TrainOptions
from sosr_timm.runner import executors, pool

WORDS = (
    *("--dataset", "digits", "--model", "vit_tiny_patch16_224", "--opt", "momentum", "--lr", "0.05"),
    *("--model-kwargs", "img_size=8", "patch_size=4", "depth=1", "embed_dim=24", "num_heads=3"),
    *("--img-size", "8", "--in-chans", "1", "--crop-padding", "1", "--warmup-epochs", "0", "--workers", "0"),
    *("--train-num-samples", "200", "--val-num-samples", "120", "--batch-size", "50", "--jobs", "1"),
)


class InProcess:
    """What subprocess.Popen gives the pool, for a worker that runs in this process."""

    stop_before: int | None = None  # the run, counted over all tests' calls, that is killed
    started = 0

    def __init__(self, words, env, stdout, **others):
        self.pid, self.returncode = 0, None
        cls = type(self)
        cls.started += 1
        if cls.stop_before == cls.started:
            raise KeyboardInterrupt
        arguments = [str(word) for word in words[words.index("sosr_timm.comparison.worker") + 1 :]]
        split = arguments[1] if arguments[:1] == ["--test"] else ""
        AcceleratorState._reset_state(True)
        GradientState._reset_state()
        try:
            self.returncode = worker.run(load(TrainOptions, arguments[2:] if split else arguments), split)
        except UserError as error:
            stdout.write(f"worker.py: error: {error}\n".encode())
            stdout.flush()
            self.returncode = 2

    def poll(self):
        return self.returncode


def use_in_process(monkeypatch) -> type[InProcess]:
    """Let the pool run workers in this process."""
    monkeypatch.setenv("ACCELERATE_USE_CPU", "true")
    fake = SimpleNamespace(Popen=InProcess, DEVNULL=subprocess.DEVNULL, STDOUT=subprocess.STDOUT)
    monkeypatch.setattr(executors, "subprocess", fake)
    monkeypatch.setattr(pool, "POLL", 0.0)
    monkeypatch.setattr(InProcess, "stop_before", None)
    monkeypatch.setattr(InProcess, "started", 0)
    return InProcess


def compare(*words: object) -> int:
    """A comparison of tiny runs; returns the exit code."""
    return main.run_comparison(load(CompareOptions, [*WORDS, *map(str, words)]))


def results(folder: Path) -> Path:
    """The folder of the report of the one comparison in a folder."""
    (found,) = folder.glob("*/results")
    return found
