"""Orders of the training samples: time and memory to start, and what they cost on a disk that has to seek.

    python -m benchmarks.bench_orders [--quick]

1. Seconds until the first batch of an epoch is known, and memory, of permutations and bijections.
2. A simulated disk: a virtual clock adds the time of a seek and of the bytes for each read that is not in a cache of
   what was read last. A permutation reads image by image, windows of shards read a shard as a whole. Nothing is read.
3. This machine's disk, with the shards dropped from the page cache before each epoch.

Writes results/bench_orders.json.
"""

from __future__ import annotations

import argparse
import io
import os
import tarfile
import tempfile
import time
from collections import OrderedDict
from itertools import islice
from pathlib import Path
from typing import Any

import numpy as np
import psutil
from rich.console import Console
from rich.table import Table

from benchmarks.children import in_child, load
from sosr_timm.data.order.order import TrainingOrder
from sosr_timm.data.order.shuffle import make_shuffle
from sosr_timm.data.prepare.index_shards import index_shards
from sosr_timm.data.sources.shards import ShardSource, open_shards
from sosr_timm.environment import environment
from sosr_timm.files import write_json
from tools.checkout import ROOT

BATCH = 256
DISKS = {  # name -> seconds of a seek or request, bytes/s, bytes of cache, bytes that a read brings along
    "hard disk": (0.008, 200e6, 8e9, 128e3),
    "mounted bucket": (0.030, 400e6, 8e9, 1e6),
}
SHARDS, SHARD_SAMPLES, SAMPLE = 200, 2_500, 110_000  # 55 GB, as ImageNet's files at 500,000 images
WINDOWS = (1, 4, 16)


def start(kind: str, samples: int) -> dict[str, Any]:
    """Seconds until the first batch of the first and of another epoch is there, and of a batch in the middle."""
    begun = time.perf_counter()
    order = TrainingOrder(samples, BATCH, shuffle=make_shuffle(samples, 42, kind))
    next(order.keys(0, 0, 1))
    first = time.perf_counter() - begun
    begun = time.perf_counter()
    next(order.keys(1, order.batches_per_epoch // 2, 2))
    middle = time.perf_counter() - begun
    begun = time.perf_counter()
    count = sum(len(key.indices) for key in islice(order.keys(1, 0, 2), 500))
    return {"start_s": first, "resume_s": middle, "ns_per_sample": (time.perf_counter() - begun) / count * 1e9}


def starts(quick: bool) -> list[dict[str, Any]]:
    rows = []
    for samples in (10**6, 10**8, 10**9):
        for kind in ("permutation", "bijection"):
            row = {"order": kind, "samples": samples}
            if kind == "permutation" and (16 * samples > psutil.virtual_memory().available or samples > 10**8):
                rows.append({**row, "not_run": f"a permutation takes {8 * samples:,} bytes"})
            elif not quick or samples == 10**6 or kind == "bijection":
                rows.append({**row, **in_child(start, kind, samples)})
    return rows


class SimulatedDisk:
    """A virtual clock for reads of shards.

    Args:
        seek: seconds before a read that does not continue the last one.
        rate: bytes a second.
        cache: bytes that stay in memory, the least recently used leave first.
        ahead: bytes that are read at least.
    """

    def __init__(self, seek: float, rate: float, cache: float, ahead: float):
        self.seek, self.rate, self.cache, self.ahead = seek, rate, cache, ahead
        self.seconds, self.kept = 0.0, 0.0
        self.known: OrderedDict[Any, float] = OrderedDict()

    def read(self, name: Any, size: float) -> None:
        """Read a piece, or find it in the cache."""
        if name in self.known:
            self.known.move_to_end(name)
            return
        size = max(size, self.ahead)
        self.seconds += self.seek + size / self.rate
        self.known[name] = size
        self.kept += size
        while self.kept > self.cache:
            self.kept -= self.known.popitem(last=False)[1]


def simulated(kind: str, window: int, disk: tuple[float, float, float, float], shards: int) -> float:
    """Images a second that a disk gives in the order of the second epoch, the first one having filled the cache."""
    ends = np.arange(1, shards + 1, dtype=np.int64) * SHARD_SAMPLES
    order = make_shuffle(int(ends[-1]), 42, kind, ends, window)
    reader = SimulatedDisk(*disk)
    for epoch in range(2):
        begun = reader.seconds
        samples = order.samples(epoch, 0, 0, int(ends[-1]))
        if kind == "shards":  # read ahead as a whole when it is opened
            for shard in (samples // SHARD_SAMPLES).tolist():
                reader.read(("shard", shard), SHARD_SAMPLES * SAMPLE)
        else:
            for sample in samples.tolist():
                reader.read(sample, SAMPLE)
    return len(samples) / max(reader.seconds - begun, 1e-9)


def write_shards(folder: Path, shards: int, samples: int, size: int) -> None:
    """Shards of random bytes; nothing decodes them."""
    for number in range(shards):
        content = np.random.default_rng(number).bytes(samples * size)
        with tarfile.open(folder / f"{number:03d}.tar", "w") as file:
            for sample in range(samples):
                for ending, data in (("jpg", content[sample * size :][:size]), ("cls", b"0")):
                    member = tarfile.TarInfo(f"{number * samples + sample:08d}.{ending}")
                    member.size = len(data)
                    file.addfile(member, io.BytesIO(data))


def cold(source: ShardSource, kind: str, window: int) -> float:
    """Images a second of an epoch whose files are not in the page cache when it begins."""
    for path in source.paths:
        descriptor = os.open(path, os.O_RDONLY)
        os.fsync(descriptor)
        os.posix_fadvise(descriptor, 0, 0, os.POSIX_FADV_DONTNEED)
        os.close(descriptor)
    order = make_shuffle(len(source), 42, kind, source.shard_ends(), window)
    if kind == "shards":
        source.stay_in_shards()
    begun = time.perf_counter()
    for sample in order.samples(0, 0, 0, len(source)).tolist():
        source.content(sample)
    return len(source) / (time.perf_counter() - begun)


def measured(quick: bool) -> dict[str, float]:
    """Orders -> images a second from this machine's disk, the median of three."""
    orders = {"permutation": ("permutation", 1), **{f"shards, window {w}": ("shards", w) for w in WINDOWS}}
    found: dict[str, list[float]] = {name: [] for name in orders}
    with tempfile.TemporaryDirectory(dir=Path.cwd()) as folder:
        write_shards(Path(folder), 4 if quick else 32, 64, 110_000)
        index_shards([folder])
        for _ in range(1 if quick else 3):
            for name, (kind, window) in orders.items():
                found[name].append(cold(open_shards(folder, "train"), kind, window))
    return {name: float(np.median(values)) for name, values in found.items()}


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--quick", action="store_true", help="a few seconds; nothing is written")
    quick = parser.parse_args().quick
    before = load()
    rows = starts(quick)
    table = Table(title="First batch of an epoch", title_justify="left")
    for name in ("order", "samples", "start", "in mid-epoch", "memory", "per sample"):
        table.add_column(name, justify="left" if name == "order" else "right")
    for row in rows:
        cells = [row["order"], f"{row['samples']:,}"]
        if "not_run" in row:
            table.add_row(*cells, row["not_run"])
            continue
        seconds = [f"{row[name] * 1000:,.1f} ms" for name in ("start_s", "resume_s")]
        table.add_row(*cells, *seconds, f"{row['peak_bytes'] / 1e6:,.1f} MB", f"{row['ns_per_sample']:,.0f} ns")
    console = Console(width=110)
    console.print(table)
    shards = 60 if quick else SHARDS
    disks = {
        name: {
            "permutation": simulated("permutation", 1, disk, shards),
            **{f"shards, window {window}": simulated("shards", window, disk, shards) for window in WINDOWS},
        }
        for name, disk in DISKS.items()
    }
    disks["this disk, not in the page cache"] = measured(quick)
    for name, rates in disks.items():
        console.print(f"{name}: " + ", ".join(f"{order} {rate:,.0f} images/s" for order, rate in rates.items()))
    record = {
        "batch": BATCH,
        "starts": rows,
        "simulated": {
            "disks": {
                name: dict(zip(("seek_s", "bytes_per_s", "cache", "ahead"), disk, strict=True))
                for name, disk in DISKS.items()
            },
            "shards": shards,
            "samples_of_a_shard": SHARD_SAMPLES,
            "bytes_of_a_sample": SAMPLE,
        },
        "images_per_second": disks,
        "load": [before, load()],
        "environment": environment(),
    }
    if not quick:
        write_json(ROOT / "results" / "bench_orders.json", record)


if __name__ == "__main__":
    main()
