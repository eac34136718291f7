"""Images per second of timm's loader and of ours on the same images and the same augmentation, side by side in one run.

    python -m benchmarks.bench_loader [--workers 2] [--repeats 5] [--quick]

Fashion-MNIST (28 x 28, grey) with a random crop after padding, a horizontal flip and normalisation, batches of 128.
Rounds are interleaved and medians taken. Writes results/bench_loader_cpu.json (or _cuda).
"""

from __future__ import annotations

import argparse
import statistics
import time
from collections.abc import Callable, Iterable, Iterator

import torch
from rich.console import Console
from rich.table import Table
from timm.data import create_loader
from timm.data.transforms import MaybePILToTensor
from torch.utils.data import Dataset
from torchvision import transforms

from sosr_timm.data.loaders.device_loader import DeviceImages, DeviceTrainingBatches
from sosr_timm.data.loaders.worker_loader import TrainingBatches
from sosr_timm.data.order.order import TrainingOrder, TrainingSampler
from sosr_timm.data.sources.catalog import open_source
from sosr_timm.data.sources.source import ImageSource
from sosr_timm.data.transforms.image import ImageFormat, training_transform
from sosr_timm.environment import environment
from sosr_timm.files import write_json
from tools.checkout import ROOT

BATCH, PADDING = 128, 2
TIMM = ("timm, prefetcher", "timm, no prefetcher")


class Pairs(Dataset):
    """The images as timm's loader wants them."""

    def __init__(self, source: ImageSource):
        self.source, self.transform = source, None

    def __len__(self) -> int:
        return len(self.source)

    def __getitem__(self, index: int):
        image, label = self.source.load(index)
        return self.transform(image), label


def timm_loader(
    source: ImageSource, form: ImageFormat, workers: int, device: torch.device, prefetcher: bool
) -> Iterable:
    """timm's loader with torchvision's padded crop and flip in place of its resized crop."""
    dataset = Pairs(source)
    loader = create_loader(
        dataset,
        input_size=form.input_size,
        batch_size=BATCH,
        is_training=True,
        use_prefetcher=prefetcher,
        mean=form.mean,
        std=form.std,
        num_workers=workers,
        device=device,
        pin_memory=device.type == "cuda",
        persistent_workers=workers > 0,
    )
    last = [MaybePILToTensor()] if prefetcher else [transforms.ToTensor(), transforms.Normalize(form.mean, form.std)]
    crop = transforms.RandomCrop((form.height, form.width), padding=PADDING)
    dataset.transform = transforms.Compose([crop, transforms.RandomHorizontalFlip(), *last])
    return loader


def streams(
    source: ImageSource, form: ImageFormat, workers: int, device: torch.device
) -> dict[str, Callable[[], Iterator]]:
    """What to measure: each gives an iterator over batches."""
    order = TrainingOrder(len(source), BATCH)
    transform = training_transform(form, PADDING, hflip=0.5, as_bytes=True)
    by_image = TrainingBatches(source, transform, form.image_mode, 0, 0, None, form=form, device=device)
    images = DeviceImages(source, form, device, PADDING)
    fill = {"hflip": 0.5, "vflip": 0.0, "erase_probability": 0.0, "erase_mode": "const"}
    on_device = DeviceTrainingBatches(source, images, 0, 0, None, **fill)
    loaders = {
        name: timm_loader(source, form, workers, device, prefetcher)
        for name, prefetcher in zip(TIMM, (True, False), strict=True)
    }
    found: dict[str, Callable[[], Iterator]] = {
        name: lambda loader=loader: iter(loader) for name, loader in loaders.items()
    }
    found["ours, image by image"] = lambda: by_image.batches(TrainingSampler(order, 0, 0, 1), workers, False)
    found["ours, on the device"] = lambda: on_device.batches(TrainingSampler(order, 0, 0, 1), 0, False)
    return found


def images_per_second(stream: Iterator, count: int, device: torch.device) -> float:
    """Over `count` batches, after two that fill the pipeline."""
    for _ in range(2):
        next(stream)
    started = time.perf_counter()
    for _ in range(count):
        batch = next(stream)
    total = float(batch[1 if hasattr(batch, "unreadable") else 0].sum())  # the batch must be there, not only promised
    if device.type == "cuda":
        torch.cuda.synchronize()
    assert total == total
    return count * BATCH / (time.perf_counter() - started)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--workers", type=int, default=2)
    parser.add_argument("--repeats", type=int, default=5)
    parser.add_argument("--quick", action="store_true", help="few batches, to see that it runs")
    arguments = parser.parse_args()
    device = torch.device("cuda" if torch.cuda.is_available() else "cpu")
    source = open_source("fashion_mnist", None, "train")
    form = ImageFormat(1, 28, 28, source.info.mean, source.info.std, "bilinear", 1.0, "center", "L")
    measured = streams(source, form, arguments.workers, device)
    rates: dict[str, list[float]] = {name: [] for name in measured}
    repeats, count = (1, 10) if arguments.quick else (arguments.repeats, 100)
    for _ in range(repeats):
        for name, start in measured.items():
            rates[name].append(images_per_second(start(), count, device))
    medians = {name: statistics.median(values) for name, values in rates.items()}
    best_of_timm = max(medians[name] for name in TIMM)
    table = Table(title=f"Fashion-MNIST, {arguments.workers} workers, {device}", title_justify="left")
    for name in ("loader", "images/s", "over the faster of timm's"):
        table.add_column(name, justify="left" if name == "loader" else "right")
    for name, value in medians.items():
        table.add_row(name, f"{value:,.0f}", f"{value / best_of_timm:.2f}")
    Console(width=100).print(table)
    record = {
        "batch_size": BATCH,
        "workers": arguments.workers,
        "repeats": repeats,
        "images_per_second": medians,
        "over_timm": {name: value / best_of_timm for name, value in medians.items()},
        "environment": environment(),
    }
    if not arguments.quick:
        write_json(ROOT / "results" / f"bench_loader_{device.type}.json", record)


if __name__ == "__main__":
    main()
