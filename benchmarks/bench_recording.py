"""What --record-confidence costs a training step, side by side in one run.

    python -m benchmarks.bench_recording [--model cifar_resnet20] [--batch-size 128] [--repeats 5] [--quick]

Two measurements. The record alone: loss and its backward pass down to the logits, with and without the record in turn,
whose difference is divided by the time of a step. And complete steps with and without it in turn; "off again" is what
the machine's own noise makes of the same comparison. Also the time of the entropies, once for a run, and of the clean
pass, the option's other value. Writes results/bench_recording_cpu.json (or _cuda).
"""

from __future__ import annotations

import argparse
import os
import statistics
import time
from collections.abc import Callable

import numpy as np
import timm
import torch
from rich.console import Console
from rich.table import Table

import sosr_timm
from sosr_timm.data.loaders.batch import Batch
from sosr_timm.data.loaders.image_entropy import image_entropies
from sosr_timm.data.sources.source import ArraySource, SourceInfo
from sosr_timm.environment import environment
from sosr_timm.files import write_json
from sosr_timm.training.confidence import ConfidenceRecord
from tools.checkout import ROOT

IMAGES, CLASSES, SIDE = 50_000, 100, 32  # of CIFAR-100
MODES = ("off", "off again", "on")


def seconds_of(action: Callable[[], None], device: torch.device) -> float:
    synchronize = torch.cuda.synchronize if device.type == "cuda" else lambda: None
    synchronize()
    started = time.perf_counter()
    action()
    synchronize()
    return time.perf_counter() - started


def in_turn(actions: dict[str, Callable[[], None]], repeats: int, device: torch.device) -> dict[str, list[float]]:
    """Seconds of each action, one after the other in each turn, in another order every second time."""
    found: dict[str, list[float]] = {name: [] for name in actions}
    for turn in range(repeats):
        for name in list(actions)[:: 1 if turn % 2 else -1]:
            found[name].append(seconds_of(actions[name], device))
    return found


def make_actions(model: str, batch_size: int, loss_name: str, device: torch.device) -> tuple[dict, dict, Callable]:
    """Complete steps, losses alone, and a pass in evaluation mode, with and without the record."""
    classifier = timm.create_model(model, num_classes=CLASSES).to(device).train()
    optimizer = torch.optim.SGD(classifier.parameters(), lr=0.0, momentum=0.9)
    loss = sosr_timm.create_loss(loss_name, num_classes=CLASSES).to(device)
    loss.reminder = None  # only steps are timed: no epoch ends
    generator = torch.Generator().manual_seed(0)
    images = torch.randn(batch_size, 3, SIDE, SIDE, generator=generator).to(device)
    target = torch.randint(CLASSES, (batch_size,), generator=generator)
    record = ConfidenceRecord("training", device)
    entropies = torch.rand(IMAGES, 2, generator=generator, dtype=torch.float64)
    entropies[:, 1] = torch.randint(CLASSES, (IMAGES,), generator=generator)
    record.start(entropies)
    indices = tuple(torch.randint(IMAGES, (batch_size,), generator=generator).tolist())
    batch = Batch(0, images, target, (), indices)
    target = target.to(device)
    leaf = torch.randn(batch_size, CLASSES, generator=generator).to(device).requires_grad_()

    def backward(logits: torch.Tensor, recorded: bool) -> None:
        result = {"loss": loss(logits, target), "output": logits}
        if recorded:
            record.watch(batch, result, target)
        (result["loss"] * 1.0).backward()

    def step(recorded: bool) -> None:
        backward(classifier(images), recorded)
        optimizer.step()
        optimizer.zero_grad()

    def alone(recorded: bool) -> None:
        backward(leaf * 1.0, recorded)

    def evaluate() -> None:
        classifier.eval()
        with torch.no_grad():
            record.above(classifier(images), indices)
        classifier.train()

    steps = {mode: (lambda mode=mode: step(mode == "on")) for mode in MODES}
    return steps, {mode: (lambda mode=mode: alone(mode == "on")) for mode in MODES}, evaluate


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--model", default="cifar_resnet20")
    parser.add_argument("--batch-size", type=int, default=128)
    parser.add_argument("--loss", default="sosr")
    parser.add_argument("--repeats", type=int, default=5)
    parser.add_argument("--quick", action="store_true", help="a small model and few repeats, to see that it runs")
    arguments = parser.parse_args()
    if arguments.quick:
        arguments.model, arguments.batch_size, arguments.repeats = "cifar_resnet20", 16, 2
    device = torch.device("cuda" if torch.cuda.is_available() else "cpu")
    steps, alone, evaluate = make_actions(arguments.model, arguments.batch_size, arguments.loss, device)
    for action in (*steps.values(), *alone.values(), evaluate):
        action()
    of_steps = in_turn(steps, arguments.repeats, device)
    of_losses = in_turn(alone, 100 * arguments.repeats, device)
    step = statistics.median(of_steps["off"])
    pairs = list(zip(of_losses["on"], of_losses["off"], strict=True))
    record = statistics.median(on - off for on, off in pairs)
    evaluation = statistics.median(seconds_of(evaluate, device) for _ in range(arguments.repeats))
    pixels = np.random.default_rng(0).integers(0, 256, (2000, SIDE, SIDE, 3), dtype=np.uint8)
    source = ArraySource(pixels, np.zeros(len(pixels), dtype=np.int64), SourceInfo(num_classes=1), "noise")
    entropies = seconds_of(lambda: image_entropies(source, range(len(source))), device) / len(source)
    ratios = {
        mode: statistics.median(one / off for one, off in zip(of_steps[mode], of_steps["off"], strict=True))
        for mode in MODES[1:]
    }
    found = {
        "model": arguments.model,
        "batch_size": arguments.batch_size,
        "loss": arguments.loss,
        "repeats": arguments.repeats,
        "threads": torch.get_num_threads(),
        "load_average": os.getloadavg()[0],  # above the number of cores, others were at work
        "step_seconds": step,
        "step_over_off": ratios,
        "record_seconds": record,
        "record_share_of_step": record / step,
        "clean_pass_share_of_epoch": evaluation / step,
        "entropy_seconds_per_image": entropies,
        "environment": environment(),
    }
    table = Table(title=f"{arguments.model}, {arguments.loss}, batch {arguments.batch_size}, {device}")
    for name in ("", "seconds", "of a step"):
        table.add_column(name, justify="right" if name else "left")
    table.add_row("step without the record", f"{step:.4f}", "1")
    table.add_row("the record alone", f"{record:.6f}", f"{record / step:.3%}")
    table.add_row("step with it over one without", "", f"{ratios['on']:.3f}")
    table.add_row("one without over another without", "", f"{ratios['off again']:.3f}")
    table.add_row("clean pass, for each batch", f"{evaluation:.4f}", f"{evaluation / step:.0%}")
    table.add_row("entropy of one image, once for a run", f"{entropies:.6f}", "")
    Console(width=100).print(table)
    if not arguments.quick:
        write_json(ROOT / "results" / f"bench_recording_{device.type}.json", found)


if __name__ == "__main__":
    main()
