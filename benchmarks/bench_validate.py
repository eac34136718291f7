"""Images per second of validate.py's pass against a plain loop over timm's loader and model, in one run.

    python -m benchmarks.bench_validate [--workers 2] [--repeats 3] [--images 2048] [--quick]

resnet18 on Fashion-MNIST resized to 64 x 64, batches of 128. Ours fills every table that validate.py does; the plain
loop is timm's loader with its prefetcher, the model, and timm's top-1 and top-5. Loaders are made anew for each pass,
so their start counts for both; passes take turns, and a ratio is the median over the turns. Writes
results/bench_validate_cpu.json (or _cuda).
"""

from __future__ import annotations

import argparse
import statistics
import time

import timm
import torch
from rich.console import Console
from rich.table import Table
from timm.data import create_loader
from timm.utils import AverageMeter, accuracy
from torch import nn

from benchmarks.bench_loader import Pairs
from sosr_timm.data.order.order import EvaluationOrder
from sosr_timm.data.sources.catalog import open_source
from sosr_timm.data.sources.source import ImageSource, spread
from sosr_timm.data.transforms.image import ImageFormat
from sosr_timm.distributed.processes import Processes, start_processes
from sosr_timm.environment import environment
from sosr_timm.files import write_json
from sosr_timm.options.validate import EvaluationDataOptions
from sosr_timm.validation.loader import make_loader
from sosr_timm.validation.measure import measure
from tools.checkout import ROOT

BATCH, CLASSES = 128, 10
FORM = ImageFormat(1, 64, 64, (0.2860,), (0.3530,), "bilinear", 1.0, "center", "L")


def our_pass(model: nn.Module, source: ImageSource, processes: Processes, workers: int) -> tuple[float, float]:
    """Seconds of validate.py's pass, and its top-1."""
    started = time.perf_counter()
    order = EvaluationOrder(len(source), BATCH)
    loader = make_loader(source, FORM, order, processes.device, EvaluationDataOptions(), workers)
    found = measure(model, loader, order, processes, classes=CLASSES)
    top1 = found.table.compute()["top1"]
    return time.perf_counter() - started, top1


@torch.inference_mode()
def plain_pass(model: nn.Module, source: ImageSource, processes: Processes, workers: int) -> tuple[float, float]:
    """Seconds of the plain loop, and its top-1."""
    started = time.perf_counter()
    loader = create_loader(
        Pairs(source),
        input_size=FORM.input_size,
        batch_size=BATCH,
        is_training=False,
        interpolation=FORM.interpolation,
        mean=FORM.mean,
        std=FORM.std,
        crop_pct=FORM.crop_pct,
        num_workers=workers,
        device=processes.device,
    )
    model.eval()
    first, fifth = AverageMeter(), AverageMeter()
    for images, target in loader:
        top1, top5 = accuracy(model(images), target, topk=(1, 5))
        first.update(top1.item(), len(target))
        fifth.update(top5.item(), len(target))
    return time.perf_counter() - started, first.avg


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--workers", type=int, default=2)
    parser.add_argument("--repeats", type=int, default=3)
    parser.add_argument("--images", type=int, default=2048)
    parser.add_argument("--quick", action="store_true", help="few images, to see that it runs")
    arguments = parser.parse_args()
    repeats, images = (1, 2 * BATCH) if arguments.quick else (arguments.repeats, arguments.images)
    processes = start_processes()
    source = spread(open_source("fashion_mnist", None, "validation"), images)
    torch.manual_seed(0)
    model = timm.create_model("resnet18", num_classes=CLASSES, in_chans=1).to(processes.device)
    passes = {"ours": our_pass, "plain loop over timm": plain_pass}
    seconds: dict[str, list[float]] = {name: [] for name in passes}
    for name in [*passes, *list(passes)[::-1]] * repeats:  # ours, plain, plain, ours: a drift hits both alike
        taken, top1 = passes[name](model, source, processes, arguments.workers)
        seconds[name].append(taken)
        print(f"{name}: {len(source) / taken:,.0f} images/s, top-1 {top1:.3f} %", flush=True)
    rates = {name: len(source) / statistics.median(values) for name, values in seconds.items()}
    ours, plain = seconds.values()
    ratio = statistics.median(theirs / mine for mine, theirs in zip(ours, plain, strict=True))
    table = Table(title=f"resnet18, 64 px, {arguments.workers} workers, {processes.device}", title_justify="left")
    for head in ("", "images/s"):
        table.add_column(head, justify="right" if head else "left")
    for name, rate in rates.items():
        table.add_row(name, f"{rate:,.1f}")
    table.add_row("ours over plain, median of pairs", f"{ratio:.3f}")
    Console(width=100).print(table)
    record = {
        "model": "resnet18",
        "images": len(source),
        "batch_size": BATCH,
        "workers": arguments.workers,
        "passes": len(ours),
        "images_per_second": rates,
        "over_plain_loop": ratio,
        "environment": environment(),
    }
    if not arguments.quick:
        path = ROOT / "results" / f"bench_validate_{processes.device.type}.json"
        write_json(path, record)


if __name__ == "__main__":
    main()
