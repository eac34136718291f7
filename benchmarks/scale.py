"""Growth: seconds and memory of an epoch against the number of samples, of classes and of processes.

    python -m benchmarks.scale [--quick]

- Samples: 1,000 to 1,000,000 tiny PNG files in tar shards, and up to 100,000 in class directories. The first 20,000
  images of an epoch are decoded, the epoch is their time times its length; opening and the order are measured in full.
- Classes: an epoch of 50,000 samples with the loss `ols+sosr`, logits alone, batches of 64; 20 batches are measured.
- Processes: an epoch of train.py on digits at the same global batch, from the run's own record. The cores are shared,
  so this shows overhead, not speed.

Each point is measured in a process of its own. Writes results/bench_scale.json and docs/scale.png. With --quick
small sizes are measured and nothing is written.
"""

from __future__ import annotations

import argparse
import io
import json
import os
import subprocess
import sys
import tarfile
import tempfile
import time
from itertools import islice
from pathlib import Path
from typing import Any

import matplotlib
import numpy as np
import psutil
import torch
from PIL import Image
from rich.console import Console
from rich.table import Table

from benchmarks.children import in_child, load
from sosr_timm import create_loss
from sosr_timm.data.order.order import TrainingOrder
from sosr_timm.data.prepare.index_shards import index_shards
from sosr_timm.data.sources.catalog import open_source
from sosr_timm.environment import environment
from sosr_timm.files import write_json
from sosr_timm.losses.ols import bytes_of_state
from tools.checkout import ROOT

matplotlib.use("Agg")
import matplotlib.pyplot as plt

BATCH, DECODED, PER_SHARD = 64, 20_000, 10_000
EPOCH = 50_000  # samples, of the sweep over classes
DIGITS = (
    *("--dataset", "digits", "--model", "cifar_resnet20", "--opt", "momentum", "--lr", "0.05", "--crop-padding", "1"),
    *("--epochs", "2", "--warmup-epochs", "0", "--workers", "0", "--loader", "workers", "--val-num-samples", "40"),
)


def tiny_images() -> list[bytes]:
    """PNG files of 8 x 8 pixels."""
    files = []
    for number in range(200):
        buffer = io.BytesIO()
        pixels = np.random.default_rng(number).integers(0, 256, (8, 8), dtype=np.uint8)
        Image.fromarray(pixels).save(buffer, "PNG")
        files.append(buffer.getvalue())
    return files


def write_shards(folder: Path, samples: int, images: list[bytes]) -> None:
    """Tar shards of `PER_SHARD` samples."""
    folder.mkdir(parents=True)
    for first in range(0, samples, PER_SHARD):
        with tarfile.open(folder / f"{first // PER_SHARD:04d}.tar", "w") as tar:
            for number in range(first, min(first + PER_SHARD, samples)):
                for ending, content in (("png", images[number % 200]), ("cls", str(number % 10).encode())):
                    member = tarfile.TarInfo(f"{number:08d}.{ending}")
                    member.size = len(content)
                    tar.addfile(member, io.BytesIO(content))


def write_files(folder: Path, samples: int, images: list[bytes]) -> None:
    """Class directories of ten classes."""
    for label in range(10):
        (folder / f"class{label}").mkdir(parents=True)
    for number in range(samples):
        (folder / f"class{number % 10}" / f"{number:08d}.png").write_bytes(images[number % 200])


def epoch_of(dataset: str, folder: Path, samples: int) -> dict[str, Any]:
    """Open a data set, begin an epoch, and read the first images of it."""
    begun = time.perf_counter()
    source = open_source(dataset, str(folder), "train")
    opened = time.perf_counter() - begun
    begun = time.perf_counter()
    source.fingerprint()
    compared = time.perf_counter() - begun
    begun = time.perf_counter()
    order = TrainingOrder(len(source), BATCH)
    keys = order.keys(0, 0, 1)
    first = next(keys)
    ordered = time.perf_counter() - begun
    begun, count = time.perf_counter(), 0
    for key in (first, *islice(keys, DECODED // BATCH)):
        for index in key.indices:
            source.load(index)
        count += len(key.indices)
    per_image = (time.perf_counter() - begun) / count
    return {
        "open_s": opened,
        "fingerprint_s": compared,
        "order_s": ordered,
        "decoded": count,
        "epoch_s": opened + compared + ordered + samples * per_image,
    }


def over_samples(quick: bool) -> list[dict[str, Any]]:
    rows, images = [], tiny_images()
    for store, sizes in (
        ("shards", (1_000, 10_000) if quick else (1_000, 10_000, 100_000, 1_000_000)),
        ("class directories", (1_000,) if quick else (1_000, 10_000, 100_000)),
    ):
        for samples in sizes:
            with tempfile.TemporaryDirectory() as base:
                folder, row = Path(base) / "data", {"store": store, "samples": samples}
                if store == "shards":
                    write_shards(folder, samples, images)
                    begun = time.perf_counter()
                    index_shards([str(folder)])
                    row["index_s"] = time.perf_counter() - begun
                else:
                    write_files(folder, samples, images)
                dataset = "wds/" if store == "shards" else ""
                rows.append({**row, **in_child(epoch_of, dataset, folder, samples)})
    return rows


def epoch_with_classes(classes: int) -> dict[str, Any]:
    """The loss of an epoch: `ols+sosr` on logits of so many classes."""
    torch.set_num_threads(1)
    loss = create_loss("ols+sosr", num_classes=classes)
    random = torch.Generator().manual_seed(0)
    logits = torch.randn(BATCH, classes, generator=random, requires_grad=True)
    target = torch.randint(classes, (BATCH,), generator=random)
    loss(logits, target).backward()
    begun = time.perf_counter()
    for _ in range(20):
        loss(logits, target).backward()
    step = (time.perf_counter() - begun) / 20
    begun = time.perf_counter()
    loss.end_epoch()
    end = time.perf_counter() - begun
    return {"step_s": step, "end_epoch_s": end, "epoch_s": EPOCH / BATCH * step + end}


def over_classes(quick: bool) -> list[dict[str, Any]]:
    rows = []
    for classes in (10, 100, 1_000) if quick else (10, 100, 1_000, 5_000, 10_000, 20_000):
        row = {"classes": classes, "state_bytes": bytes_of_state(classes)}
        if 2.2 * row["state_bytes"] > psutil.virtual_memory().available:
            rows.append({**row, "not_run": "not enough memory is free"})
        else:
            rows.append({**row, **in_child(epoch_with_classes, classes)})
    try:
        create_loss("ols", num_classes=50_000)
    except ValueError as error:
        rows.append({"classes": 50_000, "state_bytes": bytes_of_state(50_000), "refused": str(error)})
    return rows


def over_processes(quick: bool) -> list[dict[str, Any]]:
    rows = []
    for processes in (1, 2) if quick else (1, 2, 4):
        with tempfile.TemporaryDirectory() as output:
            command = [sys.executable]
            if processes > 1:
                command += ["-m", "torch.distributed.run", "--standalone", "--nproc_per_node", str(processes)]
            given = (*DIGITS, "--batch-size", str(BATCH // processes), "--output", output)
            given += ("--train-num-samples", "256") if quick else ()
            environment_of_run = {**os.environ, "ACCELERATE_USE_CPU": "true", "OMP_NUM_THREADS": "1"}
            begun = time.perf_counter()
            ended = subprocess.run(
                [*command, "train.py", *given], cwd=ROOT, env=environment_of_run, capture_output=True, text=True
            )
            seconds = time.perf_counter() - begun
            if ended.returncode:
                raise RuntimeError(f"train.py with {processes} processes: {ended.stderr[-2000:]}")
            lines = [json.loads(line) for line in next(Path(output).glob("*/metrics.jsonl")).read_text().splitlines()]
            ends = [line["timing"]["seconds"] for line in lines if line["kind"] == "epoch"]
            result = json.loads(next(Path(output).glob("*/result.json")).read_text())
            rows.append(
                {
                    "processes": processes,
                    "epoch_s": ends[1] - ends[0],  # the second one: the first warms up
                    "whole_s": seconds,
                    "train_s": result["seconds"],
                }
            )
    return rows


def plot(record: dict[str, Any], path: Path) -> None:
    """Three panels: samples, classes, processes."""
    figure, (samples, classes, processes) = plt.subplots(1, 3, figsize=(12, 4.2), layout="constrained")
    for store, colour in (("shards", "C0"), ("class directories", "C1")):
        rows = [row for row in record["samples"] if row["store"] == store]
        numbers = [row["samples"] for row in rows]
        samples.loglog(numbers, [row["epoch_s"] for row in rows], "o-", color=colour, label=f"epoch, {store}")
        starts = [row["open_s"] + row["fingerprint_s"] + row["order_s"] for row in rows]
        samples.loglog(numbers, starts, "s:", color=colour, label=f"start, {store}")
    samples.set(xlabel="samples", ylabel="seconds", title="Samples: reading, one process")
    rows = [row for row in record["classes"] if "epoch_s" in row]
    numbers = [row["classes"] for row in rows]
    classes.loglog(numbers, [row["epoch_s"] for row in rows], "o-", label=f"epoch of {EPOCH:,} samples (s)")
    classes.loglog(numbers, [row["end_epoch_s"] for row in rows], "s--", label="end of the epoch (s)")
    memory = [row["state_bytes"] / 1e9 for row in rows]
    classes.loglog(numbers, memory, "^:", label="state of OLS (GB)")
    classes.set(xlabel="classes", title="Classes: the loss ols+sosr")
    rows = record["processes"]
    bars = processes.bar([str(row["processes"]) for row in rows], [row["epoch_s"] for row in rows], color="C0")
    processes.bar_label(bars, fmt="{:.1f}")
    cores = record["environment"]["cores"]
    processes.set(xlabel="processes", ylabel="seconds", title=f"Processes: an epoch on {cores} shared cores")
    processes.margins(y=0.15)
    for axis in (samples, classes):
        axis.grid(alpha=0.3)
        axis.legend(fontsize=8, frameon=False, loc="upper center", bbox_to_anchor=(0.5, -0.18), ncols=2)
    figure.savefig(path, dpi=110)
    plt.close(figure)


def show(record: dict[str, Any]) -> None:
    console = Console(width=120)
    for name in ("samples", "classes", "processes"):
        rows = record[name]
        columns = list(dict.fromkeys(key for row in rows for key in row))
        table = Table(title=name, title_justify="left")
        for column in columns:
            table.add_column(column)
        for row in rows:
            cells = [row.get(column, "") for column in columns]
            table.add_row(
                *(
                    f"{cell:,.4g}" if isinstance(cell, float) else f"{cell:,}" if isinstance(cell, int) else str(cell)
                    for cell in cells
                )
            )
        console.print(table)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--quick", action="store_true", help="under two minutes with small sizes; nothing is written")
    parser.add_argument("--plot", action="store_true", help="draw docs/scale.png from results/bench_scale.json again")
    given = parser.parse_args()
    stored = ROOT / "results" / "bench_scale.json"
    if given.plot:
        plot(json.loads(stored.read_text()), ROOT / "docs" / "scale.png")
        return
    record: dict[str, Any] = {"load": [load()]}
    for name, sweep in (("samples", over_samples), ("classes", over_classes), ("processes", over_processes)):
        begun = time.perf_counter()
        record[name] = sweep(given.quick)
        print(f"{name}: {time.perf_counter() - begun:.0f} s, load {load()}", flush=True)
    record["load"].append(load())
    record |= {"batch": BATCH, "samples_of_a_shard": PER_SHARD, "environment": environment()}
    show(record)
    if not given.quick:
        write_json(stored, record)
        plot(record, ROOT / "docs" / "scale.png")


if __name__ == "__main__":
    main()
