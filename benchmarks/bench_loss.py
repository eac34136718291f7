"""Loss and gradient: ours against torch's cross entropy, timm's losses, our plain path and a loop over the samples.

    python -m benchmarks.bench_loss [--quick] [--device cpu|cuda] [--threads N]

All contenders take turns within one run. A ratio is the median over the turns of a contender's time divided by that of
torch's cross entropy in the same turn. Writes results/bench_loss_<device>.json.
"""

from __future__ import annotations

import argparse
import os
import statistics
import time
from collections.abc import Callable

import torch
from torch import Tensor

from benchmarks.loss_contenders import COMPILED, FOUR, REFERENCE, contenders, make_batch
from benchmarks.memory import peak_bytes
from sosr_timm.environment import environment
from sosr_timm.files import write_json
from tools.checkout import ROOT

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
    if logits.is_cuda:
        torch.cuda.reset_peak_memory_stats()
        before = torch.cuda.memory_allocated()
        function(logits, target).backward()
        most = torch.cuda.max_memory_allocated() - before
    else:
        most = peak_bytes(function, logits, target)
    return max(0.0, most / logits.nbytes - 1.0)


def measure(
    functions: dict[str, Callable], rows: int, classes: int, share: float, device: str, turns: int, budget: float
) -> dict:
    logits, target = make_batch(rows, classes, share, device)
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
        "compiled_over_sosr": statistics.median(
            one / two for one, two in zip(times[COMPILED], times["ours ce+sosr"], strict=True)
        ),
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


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--device", default="cuda" if torch.cuda.is_available() else "cpu")
    parser.add_argument("--quick", action="store_true", help="small shapes, few turns, and nothing is written")
    parser.add_argument("--threads", type=int, default=torch.get_num_threads())
    options = parser.parse_args()
    device = options.device
    torch.set_num_threads(options.threads)
    shapes, turns, budget = (SHAPES[:1], 5, 1.0) if options.quick else (SHAPES, 51, 6.0)
    load = os.getloadavg()[0]
    results = []
    for rows, classes in shapes:
        torch._dynamo.reset()  # a shape of its own for each: no shape is compiled as any shape
        functions = contenders(classes)
        results += [measure(functions, rows, classes, share, device, turns, budget) for share in SHARES]
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
        write_json(
            ROOT / "results" / f"bench_loss_{device}.json",
            {"environment": about, "threads": options.threads, "results": results},
        )


if __name__ == "__main__":
    main()
