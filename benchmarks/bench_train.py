"""Seconds of a training step, ours with SOSR against a plain loop over timm with cross entropy, in one run.

    python -m benchmarks.bench_train [--repeats 4] [--steps 8] [--only resnet18] [--quick]

Ours is the engine of train.py. The plain loop is timm's model, loader, optimizer and cross entropy, with the same
threads, memory layout, batch and augmentation. They take turns, a few steps each, so that a busy moment of the machine
hits both; a ratio is the median over the turns. The loop that is set up first gets faster memory, worth up to five per
cent, so half of the turns are with each order. Writes results/bench_train_cpu.json (or _cuda).
"""

from __future__ import annotations

import argparse
import os
import statistics
import tempfile
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import timm
import torch
from rich.console import Console
from rich.table import Table
from timm.data import create_loader
from timm.optim import create_optimizer_v2
from torch import nn

from benchmarks.bench_loader import Pairs, timm_loader
from sosr_timm.checkpoints.run_folder import claim_folder
from sosr_timm.distributed.processes import Processes, start_processes
from sosr_timm.environment import environment
from sosr_timm.files import write_json
from sosr_timm.options.load import load
from sosr_timm.options.train import TrainOptions
from sosr_timm.training.build import build_run
from sosr_timm.training.loop import train_update
from sosr_timm.training.run import Run
from tools.checkout import ROOT

WORKERS, LR, DECAY = 2, 0.05, 5e-4
COMMON = ("--dataset", "fashion_mnist", "--opt", "momentum", "--lr", str(LR), "--weight-decay", str(DECAY))
SMALL = ("--model", "cifar_resnet20", "--batch-size", "128", "--crop-padding", "2")
LARGE = ("--model", "resnet18", "--batch-size", "64", "--img-size", "64", "--loader", "workers", "--color-jitter", "0")
WORKS = {
    "cifar_resnet20, 28 px, batches made on the device": SMALL,
    "cifar_resnet20, the same, channels last": (*SMALL, "--channels-last"),
    "resnet18, 64 px, batches made by loader processes": LARGE,
}


def our_steps(run: Run) -> Iterator[None]:
    """train.py's updates; each `next` is one."""
    batches = run.batches()
    run.task.train()
    while True:
        run.schedule.set(run.progress.epoch, run.progress.update)
        train_update(run, batches)
        run.progress.update += 1
        yield


def plain_steps(run: Run, device: torch.device) -> Iterator[None]:
    """The same work as one would write it with timm alone."""
    options, form, source = run.options, run.image_format, run.training.source
    model = timm.create_model(options.model.model, in_chans=form.channels, num_classes=run.model.num_classes).to(device)
    layout = torch.channels_last if options.model.channels_last else torch.contiguous_format
    model = model.to(memory_format=layout).train()
    optimizer = create_optimizer_v2(model, opt="momentum", lr=LR, weight_decay=DECAY, momentum=0.9)
    loss = nn.CrossEntropyLoss()
    if options.augmentation.crop_padding is not None:
        loader = timm_loader(source, form, WORKERS, device, prefetcher=True)
    else:
        loader = create_loader(
            Pairs(source),
            input_size=form.input_size,
            batch_size=options.optimizer.batch_size,
            is_training=True,
            color_jitter=0.0,
            mean=form.mean,
            std=form.std,
            num_workers=WORKERS,
            device=device,
            pin_memory=device.type == "cuda",
            persistent_workers=True,
        )
    while True:
        for images, target in loader:
            loss(model(images.to(memory_format=layout)), target).backward()
            optimizer.step()
            optimizer.zero_grad()
            yield


def seconds_of(steps: Iterator[None], count: int, synchronize: Callable[[], None]) -> float:
    """Of one step, over `count` after one that fills pipelines."""
    next(steps)
    synchronize()
    started = time.perf_counter()
    for _ in range(count):
        next(steps)
    synchronize()
    return (time.perf_counter() - started) / count


def measure(arguments: tuple[str, ...], processes: Processes, repeats: int, count: int) -> dict[str, float]:
    """Median seconds a step of both, and the median ratio of neighbours in time."""
    options = load(TrainOptions, [*COMMON, *arguments, "--loss", "sosr", "--workers", str(WORKERS)]).options
    device = processes.device
    synchronize = torch.cuda.synchronize if device.type == "cuda" else lambda: None
    times: dict[str, list[float]] = {"ours": [], "timm": []}
    for order in (("ours", "timm"), ("timm", "ours")):
        with tempfile.TemporaryDirectory() as folder:
            run = build_run(options, processes, claim_folder(Path(folder), "run"))
            contenders = {"ours": our_steps(run), "timm": plain_steps(run, device)}
            for name in order:
                seconds_of(contenders[name], 1, synchronize)
            for repeat in range(-(-repeats // 2)):
                # The pause lets the loader processes of the previous loop fill their queues.
                for name in order[:: -1 if repeat % 2 else 1]:
                    time.sleep(0.3)
                    times[name].append(seconds_of(contenders[name], count, synchronize))
            contenders.clear()
    ours, plain = times["ours"], times["timm"]
    batch = options.optimizer.batch_size
    return {
        "batch_size": batch,
        "ours_seconds": statistics.median(ours),
        "timm_seconds": statistics.median(plain),
        "ours_over_timm": statistics.median(one / other for one, other in zip(ours, plain, strict=True)),
        "ours_images_per_second": batch / statistics.median(ours),
        "timm_images_per_second": batch / statistics.median(plain),
    }


def measure_optimizers(device: torch.device, repeats: int) -> dict[str, float]:
    """Median seconds of an optimizer's step for cifar_resnet20: torch's default, and fused."""
    model = timm.create_model("cifar_resnet20", num_classes=10).to(device)
    for parameter in model.parameters():
        parameter.grad = torch.full_like(parameter, 1e-3)
    optimizers = {
        f"{name}{', fused' if fused else ''}": create_optimizer_v2(model, opt=name, lr=1e-4, **fused)
        for name in ("momentum", "adamw")
        for fused in ({}, {"fused": True})
    }
    times: dict[str, list[float]] = {name: [] for name in optimizers}
    for _ in range(repeats):
        for name, optimizer in optimizers.items():
            started = time.perf_counter()
            optimizer.step()
            if device.type == "cuda":
                torch.cuda.synchronize()
            times[name].append(time.perf_counter() - started)
    return {name: statistics.median(values) for name, values in times.items()}


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--repeats", type=int, default=4, help="turns of each, half with either built first")
    parser.add_argument("--steps", type=int, default=8, help="steps in a turn")
    parser.add_argument("--threads", type=int, help="of this process; by the machine's cores where not given")
    parser.add_argument("--only", default="", help="the works whose name contains this")
    parser.add_argument("--quick", action="store_true", help="one turn of two steps, and nothing is written")
    arguments = parser.parse_args()
    repeats, steps = (1, 2) if arguments.quick else (arguments.repeats, arguments.steps)
    processes = start_processes()
    if arguments.threads:
        torch.set_num_threads(arguments.threads)
    load_before = os.getloadavg()[0]
    works = {name: measure(given, processes, repeats, steps) for name, given in WORKS.items() if arguments.only in name}
    optimizers = measure_optimizers(processes.device, 5 if arguments.quick else 51)
    table = Table(title=f"{torch.get_num_threads()} threads, {processes.device}", title_justify="left")
    for name in ("work", "ours, images/s", "timm, images/s", "seconds, ours over timm"):
        table.add_column(name, justify="left" if name == "work" else "right")
    for name, row in works.items():
        rates = (f"{row[key]:,.0f}" for key in ("ours_images_per_second", "timm_images_per_second"))
        table.add_row(name, *rates, f"{row['ours_over_timm']:.3f}")
    Console(width=110).print(table)
    print("ms of an optimizer's step: " + "  ".join(f"{name} {1e3 * value:.2f}" for name, value in optimizers.items()))
    record = {
        "workers": WORKERS,
        "repeats": repeats,
        "steps": steps,
        "threads": torch.get_num_threads(),
        "works": works,
        "optimizer_seconds": optimizers,
        "environment": {**environment(), "load_before": load_before},
    }
    if not arguments.quick:
        kind = processes.device.type
        write_json(ROOT / "results" / f"bench_train_{kind}.json", record)


if __name__ == "__main__":
    main()
