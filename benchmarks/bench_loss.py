"""Loss and gradient: ours against torch's cross entropy, timm's losses, our plain path and a loop over the samples.

python benchmarks/bench_loss.py [--quick] [--device cpu|cuda] [--threads N]

All contenders take turns within one run. A ratio is the median over the turns of a contender's time divided by that of
torch's cross entropy in the same turn. Writes results/bench_loss_<device>.json and docs/bench_loss_<device>.png.
"""

from __future__ import annotations

import argparse
import os
import statistics
import time
from collections.abc import Callable
from pathlib import Path

import torch
from loss_contenders import FOUR, REFERENCE, contenders, make_batch
from torch import Tensor

from sosr_timm.kernels.scratch import KEPT
from sosr_timm.results import environment, write_json

ROOT = Path(__file__).resolve().parents[1]
SHAPES = [(128, 100), (256, 1000), (1024, 1000), (4096, 1000), (256, 21_841)]
SHARES = (0.0, 0.5, 1.0)


def seconds(function: Callable, logits: Tensor, target: Tensor) -> float:
    logits.grad = None
    synchronize(logits)
    start = time.perf_counter()
    function(logits, target).backward()
    synchronize(logits)
    return time.perf_counter() - start


def synchronize(tensor: Tensor) -> None:
    if tensor.is_cuda:
        torch.cuda.synchronize()


def peak_beyond(function: Callable, logits: Tensor, target: Tensor) -> float:
    """Most memory in use at once beyond logits and gradient, in sizes of the logits."""
    logits.grad = None
    KEPT.__dict__.clear()  # so that working memory which a kernel keeps counts too
    if logits.is_cuda:
        torch.cuda.reset_peak_memory_stats()
        before = torch.cuda.memory_allocated()
        function(logits, target).backward()
        most = torch.cuda.max_memory_allocated() - before
    else:
        from torch.profiler import ProfilerActivity, profile

        with profile(activities=[ProfilerActivity.CPU], profile_memory=True) as profiler:
            function(logits, target).backward()
        events = [event for event in profiler.profiler.kineto_results.events() if event.name() == "[memory]"]
        in_use = most = 0
        for event in sorted(events, key=lambda event: event.start_ns()):
            in_use += event.nbytes()
            most = max(most, in_use)
    return max(0.0, most / logits.nbytes - 1.0)


def measure(rows: int, classes: int, share: float, device: str, turns: int, budget: float) -> dict:
    logits, target = make_batch(rows, classes, share, device)
    functions = contenders(classes)
    for function in functions.values():
        seconds(function, logits, target)
    times: dict[str, list[float]] = {name: [] for name in functions}
    start = time.perf_counter()
    for turn in range(turns):
        for name, function in functions.items():
            if not name.startswith("loop") or turn < 3:
                times[name].append(seconds(function, logits, target))
        if turn >= 4 and time.perf_counter() - start > budget:
            break
    base = times[REFERENCE]
    ratios = {
        name: statistics.median(mine / reference for mine, reference in zip(values, base, strict=False))
        for name, values in times.items()
    }
    four = [all_four / two for all_four, two in zip(times[f"ours {FOUR}"], times["ours ce+sosr"], strict=True)]
    return {
        "rows": rows,
        "classes": classes,
        "share": share,
        "turns": len(base),
        "milliseconds": {name: 1e3 * statistics.median(values) for name, values in times.items()},
        "ratios": ratios,
        "four_over_sosr": statistics.median(four),
        "memory_beyond": {
            name: peak_beyond(function, logits, target)
            for name, function in functions.items()
            if not name.startswith("loop")
        },
    }


def copy_bandwidth() -> float:
    """Bytes per second, read plus written, of copying 1 GB on the GPU."""
    source = torch.empty(2**28, device="cuda")
    target = torch.empty_like(source)
    times = []
    for _ in range(10):
        torch.cuda.synchronize()
        start = time.perf_counter()
        target.copy_(source)
        torch.cuda.synchronize()
        times.append(time.perf_counter() - start)
    return 2 * source.nbytes / min(times)


def table(results: list[dict]) -> str:
    names = list(results[0]["ratios"])
    head = ["shape", "share", *names[1:], "four / ce+sosr", "beyond"]
    lines = [f"| {' | '.join(head)} |", "|" + " --- |" * len(head)]
    for row in results:
        cells = [f"{row['rows']} x {row['classes']}", f"{row['share']:g}"]
        cells += [f"{row['ratios'][name]:.2f}" for name in names[1:]]
        cells += [f"{row['four_over_sosr']:.2f}", f"{row['memory_beyond']['ours ce+sosr']:.2f}"]
        lines.append(f"| {' | '.join(cells)} |")
    return "\n".join(lines)


def plot(results: list[dict], path: Path) -> None:
    import matplotlib

    matplotlib.use("Agg")
    import matplotlib.pyplot as plt

    names = ["ours ce", "ours ce+sosr", f"ours {FOUR}", "timm label smoothing", "plain ce+sosr"]
    figure, axis = plt.subplots(figsize=(9, 4), layout="constrained")
    rows = [row for row in results if row["share"] == max(SHARES)]
    for place, name in enumerate(names):
        positions = [index + 0.16 * (place - 2) for index in range(len(rows))]
        axis.bar(positions, [row["ratios"][name] for row in rows], width=0.15, label=name)
    axis.axhline(1.0, color="black", linewidth=0.8)
    axis.set_xticks(range(len(rows)), [f"{row['rows']} x {row['classes']}" for row in rows])
    axis.set_xlabel("samples x classes, every sample over-confident")
    axis.set_ylabel("time / torch cross entropy")
    axis.set_title("Loss, forward and backward")
    figure.legend(loc="outside lower center", ncols=len(names), frameon=False)
    figure.savefig(path, dpi=120)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--device", default="cuda" if torch.cuda.is_available() else "cpu")
    parser.add_argument("--quick", action="store_true", help="small shapes, few turns, and nothing is written")
    parser.add_argument("--threads", type=int, default=torch.get_num_threads())
    options = parser.parse_args()
    device = options.device
    torch.set_num_threads(options.threads)
    shapes, turns, budget = (SHAPES[:2], 5, 2.0) if options.quick else (SHAPES, 51, 12.0)
    load = os.getloadavg()[0]
    results = [measure(*shape, share, device, turns, budget) for shape in shapes for share in SHARES]
    about = {**environment(), "load_before": load, "load_after": os.getloadavg()[0]}
    if device == "cuda":
        about["copy_bytes_per_second"] = copy_bandwidth()
        for row in results:
            moved = 2 * 4 * row["rows"] * row["classes"]  # one read of the logits, one write of the gradient
            rate = moved / (row["milliseconds"]["ours ce+sosr"] / 1e3)
            row["share_of_copy_bandwidth"] = rate / about["copy_bytes_per_second"]
    print(", ".join(f"{key} {value}" for key, value in about.items()))
    print(table(results))
    if not options.quick:
        write_json(ROOT / "results" / f"bench_loss_{device}.json", {"environment": about, "results": results})
        plot(results, ROOT / "docs" / f"bench_loss_{device}.png")


if __name__ == "__main__":
    main()
