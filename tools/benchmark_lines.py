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
        f"saving: {kill['resumed']} resumed, {kill['bit_identical']} ended bit-identical to the uninterrupted run. "
        f"{flip['flips']} bits flipped in checkpoints: {flip['found']} found. {disk['moments']} full disks: "
        f"{disk['checkpoints_lost']} runs without a complete checkpoint. Saving a checkpoint of cifar_resnet20 takes "
        f"{1000 * record['saving']['seconds_per_checkpoint']:.0f} ms."
    )


def step(record: dict[str, Any]) -> str:
    alone = record["loss_alone_seconds"]
    cheapest, slowest = min(alone, key=alone.get), max(alone, key=alone.get)
    return (
        f"Cost of a loss: {1e3 * alone[cheapest]:.2f} ms (`{cheapest}`) to {1e3 * alone[slowest]:.2f} ms (`{slowest}`) "
        f"of a training step that takes {1e3 * record['steps']['ce']['seconds']:,.0f} ms ({record['model']}, batch "
        f"{record['batch_size']}). That run did not resolve differences between complete steps. "
        f"Importing the package adds {record['import_seconds']['added']:.2f} s to importing timm."
    )


def loader(record: dict[str, Any]) -> str:
    rates = record["images_per_second"]
    ours, timm = "ours, on the device", "timm, prefetcher"
    return (
        f"Data in memory: batches made on the device come {record['over_timm'][ours]:.1f} times as fast as from timm's "
        f"prefetching loader ({rates[ours]:,.0f} against {rates[timm]:,.0f} Fashion-MNIST images/s, crop and flip)."
    )


def loss(record: dict[str, Any]) -> str:
    return "The losses alone beside `F.cross_entropy`: [docs/kernels.md](docs/kernels.md)."


def train(record: dict[str, Any]) -> str:
    ratios = "; ".join(f"{row['ours_over_timm']:.2f} ({name})" for name, row in record["works"].items())
    return f"A training step with `sosr` over one of a plain timm loop with cross entropy, in seconds: {ratios}."


def validate(record: dict[str, Any]) -> str:
    return (
        f"validate.py evaluates {record['model']} at 64 px at {record['over_plain_loop']:.2f} times the speed of a "
        f"plain timm loop, with {record['workers']} workers."
    )


def recording(record: dict[str, Any]) -> str:
    over, milliseconds = record["step_over_off"], 1e3 * record["record_seconds"]
    return (
        f"`--record-confidence` takes {milliseconds:.2f} ms of a training step ({record['model']}, batch "
        f"{record['batch_size']}, on a machine with load average {record['load_average']:.0f}). Steps with it "
        f"took {over['on']:.2f} times those without, two sets without it {over['off again']:.2f} times each other."
    )


def stores(record: dict[str, Any]) -> str:
    rates = "; ".join(f"{name} {store['random']:,.0f}" for name, store in record["stores"].items())
    return f"Images per second that are read in random order, {record['samples']:,} small images: {rates}."


def orders(record: dict[str, Any]) -> str:
    largest = max((row for row in record["starts"] if row["order"] == "bijection"), key=lambda row: row["samples"])
    return (
        f"`--order bijection` shuffles {largest['samples']:,} samples with {largest['peak_bytes'] / 1e6:.0f} MB of "
        f"memory and starts in {largest['start_s']:.3f} s."
    )


def scale(record: dict[str, Any]) -> str:
    return "Growth with samples, classes and processes: [docs/scale.md](docs/scale.md)."


LINES: dict[str, Callable[[dict[str, Any]], str]] = {
    "bench_resilience": resilience,
    "bench_step": step,
    "bench_recording": recording,
    "bench_loader": loader,
    "bench_loss": loss,
    "bench_train": train,
    "bench_validate": validate,
    "bench_stores": stores,
    "bench_orders": orders,
    "bench_scale": scale,
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
