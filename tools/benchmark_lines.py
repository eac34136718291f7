"""The benchmarks in README.md, from results/bench_*.json: a line for each that was run."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

NONE_YET = "No benchmark is stored in `results/` yet."


def resilience(record: dict[str, Any]) -> str:
    kill, flip, disk = record["kill"], record["flip"], record["full_disk"]
    return (
        f"{kill['runs_killed']} runs killed with SIGKILL at random moments, {kill['killed_while_saving']} while "
        f"saving: {kill['resumed']} resumed, {kill['bit_identical']} ended bit-identical to the straight run. "
        f"{flip['flips']} bits flipped in checkpoints: {flip['found']} found. {disk['moments']} full disks: "
        f"{disk['checkpoints_lost']} runs without a whole checkpoint. "
        f"{1000 * record['saving']['seconds_per_checkpoint']:.0f} ms a checkpoint of cifar_resnet20."
    )


def step(record: dict[str, Any]) -> str:
    ratios = ", ".join(
        f"`{spec}` {figures['over_ce']:.3f}" for spec, figures in record["steps"].items() if spec != "ce"
    )
    alone = ", ".join(f"`{spec}` {1e3 * record['loss_alone_seconds'][spec]:.2f}" for spec in ("ce", "sosr"))
    return (
        f"Milliseconds of a loss in a training step of {record['model']} at batch {record['batch_size']}, which takes "
        f"{1e3 * record['steps']['ce']['seconds']:,.0f}: {alone}. Whole steps over ones with `ce`: {ratios}. "
        f"Importing the package adds {record['import_seconds']['added']:.2f} s to importing timm."
    )


def loader(record: dict[str, Any]) -> str:
    rates = record["images_per_second"]
    figures = ", ".join(f"{name} {value:,.0f}" for name, value in rates.items())
    ratio = record["over_timm"]["ours, on the device"]
    return f"Fashion-MNIST images per second, crop and flip: {figures}; on the device over timm's faster: {ratio:.1f}."


def loss(record: dict[str, Any]) -> str:
    return "The losses alone, over `F.cross_entropy`: [docs/kernels.md](docs/kernels.md)."


def train(record: dict[str, Any]) -> str:
    ratios = ", ".join(f"{name}: {row['ours_over_timm']:.3f}" for name, row in record["works"].items())
    return f"Seconds of a training step with `sosr` over those of a plain loop over timm with cross entropy: {ratios}."


def validate(record: dict[str, Any]) -> str:
    return (
        f"`validate.py` over a plain loop over timm's loader and model, images per second of {record['model']} at "
        f"64 pixels with {record['workers']} workers: {record['over_plain_loop']:.3f}."
    )


LINES: dict[str, Callable[[dict[str, Any]], str]] = {
    "bench_resilience": resilience,
    "bench_step": step,
    "bench_loader": loader,
    "bench_loss": loss,
    "bench_train": train,
    "bench_validate": validate,
}


def lines(folder: Path) -> str:
    """A bullet for each stored benchmark that has a line, with its file and machine."""
    found = []
    for path in sorted(folder.glob("bench_*.json")):
        describe = next((line for name, line in LINES.items() if path.stem.startswith(name)), None)
        if describe is None:
            continue
        record = json.loads(path.read_text(encoding="utf-8"))
        environment = record["environment"]
        where = environment["gpus"][0] if path.stem.endswith("_cuda") else f"{environment['cpu']}"
        found.append(f"- {describe(record)} (`results/{path.name}`, {where}, torch {environment['torch']})")
    return "\n".join(found) or NONE_YET
