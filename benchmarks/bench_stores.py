"""Random access to one image at a time: class directories, our index of tar shards, litdata, mosaicml-streaming.

    python -m benchmarks.bench_stores [--samples 20000] [--quick]

The same JPEG files everywhere, on this machine's disk and in its page cache; the bytes are handed over and not decoded.
Each store is opened and read in a process of its own. mosaicml-streaming is measured where it is installed: it needs
other versions of NumPy and transformers than this package's extras. Writes results/bench_stores.json.
"""

from __future__ import annotations

import argparse
import importlib.util
import io
import logging
import statistics
import tarfile
import tempfile
import time
from collections.abc import Callable
from importlib import metadata
from pathlib import Path
from typing import Any

import numpy as np
from PIL import Image
from rich.console import Console
from rich.table import Table

from benchmarks.children import in_child, load
from sosr_timm.data.order.shuffle import make_shuffle
from sosr_timm.data.prepare.index_shards import index_shards
from sosr_timm.data.sources.shards import open_shards
from sosr_timm.environment import environment
from sosr_timm.files import write_json
from tools.checkout import ROOT

PER_SHARD = 1000


def jpeg(number: int) -> bytes:
    """A JPEG file of about 10 KB."""
    pixels = np.random.default_rng(number).integers(0, 256, (8, 8, 3), dtype=np.uint8)
    image = Image.fromarray(pixels).resize((160, 160), Image.Resampling.BICUBIC)
    noise = np.random.default_rng(number).integers(-12, 12, (160, 160, 3))
    buffer = io.BytesIO()
    Image.fromarray(np.clip(np.asarray(image) + noise, 0, 255).astype(np.uint8)).save(buffer, "JPEG", quality=85)
    return buffer.getvalue()


def write_stores(folder: Path, samples: int) -> dict[str, Callable[[], Any]]:
    """Write every store; returns how each is opened, as an object that gives the bytes at an index."""
    files = [jpeg(number) for number in range(min(samples, 500))]

    def content(number: int) -> bytes:
        return files[number % len(files)]

    for number in range(samples):
        path = folder / "files" / str(number % 10) / f"{number:08d}.jpg"
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(content(number))
    (folder / "tar").mkdir()
    for first in range(0, samples, PER_SHARD):
        with tarfile.open(folder / "tar" / f"{first:08d}.tar", "w") as tar:
            for number in range(first, min(first + PER_SHARD, samples)):
                for ending, data in (("jpg", content(number)), ("cls", str(number % 10).encode())):
                    member = tarfile.TarInfo(f"{number:08d}.{ending}")
                    member.size = len(data)
                    tar.addfile(member, io.BytesIO(data))
    index_shards([str(folder / "tar")])
    stores: dict[str, Callable[[], Any]] = {
        "class directories": lambda: Files(folder / "files"),
        "tar shards, indexed": lambda: Bytes(open_shards(str(folder / "tar"), "train").content),
    }
    if importlib.util.find_spec("litdata"):
        from litdata.streaming.writer import BinaryWriter

        (folder / "litdata").mkdir()
        writer = BinaryWriter(str(folder / "litdata"), chunk_size=PER_SHARD)
        for number in range(samples):
            writer[number] = {"image": content(number), "label": number % 10}
        writer.done()
        writer.merge()
        stores["litdata"] = lambda: Bytes(_litdata(folder / "litdata"))
    if importlib.util.find_spec("streaming"):
        from streaming import MDSWriter

        columns = {"image": "bytes", "label": "int"}
        size = PER_SHARD * len(content(0))
        with MDSWriter(out=str(folder / "mds"), columns=columns, size_limit=size) as mosaic:
            for number in range(samples):
                mosaic.write({"image": content(number), "label": number % 10})
        stores["mosaicml-streaming"] = lambda: Bytes(_mosaic(folder / "mds"))
    return stores


def _litdata(folder: Path) -> Callable[[int], bytes]:
    from litdata import StreamingDataset

    found = StreamingDataset(str(folder))
    return lambda index: found[index]["image"]


def _mosaic(folder: Path) -> Callable[[int], bytes]:
    from streaming import StreamingDataset

    found = StreamingDataset(local=str(folder), batch_size=1)
    return lambda index: found[index]["image"]


class Bytes:
    def __init__(self, read: Callable[[int], bytes]):
        self.read = read


class Files(Bytes):
    """Image files by number, listed as a class directory is."""

    def __init__(self, folder: Path):
        paths = sorted(folder.rglob("*.jpg"), key=lambda path: path.name)
        super().__init__(lambda index: paths[index].read_bytes())


def access(open_store: Callable[[], Bytes], samples: int, reads: int) -> dict[str, Any]:
    """Seconds to the first image, and reads a second: in random order, in random order shard by shard, in sequence."""
    logging.disable(logging.WARNING)
    begun = time.perf_counter()
    store = open_store()
    total = len(store.read(samples // 2))
    opened = time.perf_counter() - begun
    order = np.random.default_rng(0).permutation(samples)[:reads].tolist()
    rates = {}
    ends = np.minimum(np.arange(PER_SHARD, samples + PER_SHARD, PER_SHARD), samples)
    by_shard = make_shuffle(samples, 0, "shards", ends, 1).samples(0, 0, 0, reads).tolist()
    for name, indices in (("random", order), ("by_shard", by_shard), ("sequential", range(reads))):
        begun = time.perf_counter()
        total += sum(len(store.read(index)) for index in indices)
        rates[name] = reads / (time.perf_counter() - begun)
    return {"open_s": opened, **rates, "bytes": total}


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--samples", type=int, default=20_000)
    parser.add_argument("--repeats", type=int, default=3)
    parser.add_argument("--quick", action="store_true", help="a few seconds; nothing is written")
    given = parser.parse_args()
    samples, repeats = (2_000, 1) if given.quick else (given.samples, given.repeats)
    before = load()
    found: dict[str, list[dict[str, Any]]] = {}
    with tempfile.TemporaryDirectory() as folder:
        stores = write_stores(Path(folder), samples)
        for _ in range(repeats):
            for name, open_store in stores.items():
                found.setdefault(name, []).append(in_child(access, open_store, samples, samples))
    rows = {name: {key: statistics.median(run[key] for run in runs) for key in runs[0]} for name, runs in found.items()}
    table = Table(title=f"{samples:,} images, reads per second", title_justify="left")
    for name in ("store", "random", "shard by shard", "sequential", "open", "memory"):
        table.add_column(name, justify="left" if name == "store" else "right")
    for name, row in rows.items():
        rates = [f"{row[key]:,.0f}" for key in ("random", "by_shard", "sequential")]
        table.add_row(name, *rates, f"{row['open_s'] * 1000:,.1f} ms", f"{row['peak_bytes'] / 1e6:,.1f} MB")
    Console(width=100).print(table)
    names = [name for name in ("litdata", "mosaicml-streaming") if importlib.util.find_spec(name.split("-")[-1])]
    record = {
        "samples": samples,
        "repeats": repeats,
        "stores": rows,
        "versions": {name: metadata.version(name) for name in names},
        "load": [before, load()],
        "environment": environment(),
    }
    if not given.quick:
        write_json(ROOT / "results" / "bench_stores.json", record)


if __name__ == "__main__":
    main()
