"""What a complete training step costs with each loss, and what importing the package costs, side by side in one run.

    python -m benchmarks.bench_step [--model cifar_resnet56] [--batch-size 128] [--repeats 3] [--quick]

Each step with a loss is timed next to one with `ce`, before it and after it in turn, so that a busy moment
hits both; a ratio is the median over these pairs. One of the losses is `ce` again: what its ratio is away from 1 is the
machine's share of the others. Writes results/bench_step_cpu.json (or _cuda).
"""

from __future__ import annotations

import argparse
import statistics
import subprocess
import sys
import time

import timm
import torch
from rich.console import Console
from rich.table import Table
from timm.task import ClassificationTask

import sosr_timm
from sosr_timm.environment import environment
from sosr_timm.files import write_json
from tools.checkout import ROOT

AGAIN = "ce again"
SPECS = ("ce", AGAIN, "sosr", "ols", "maxsup", "cp", "ols+sosr", "ce+sosr+maxsup+cp")
IMPORTS = """
import time
times = [time.perf_counter()]
import timm
times.append(time.perf_counter())
import sosr_timm
times.append(time.perf_counter())
print(times[1] - times[0], times[2] - times[1])
"""


def seconds_of_step(
    task: ClassificationTask, optimizer: torch.optim.Optimizer, batch: tuple[torch.Tensor, ...]
) -> float:
    """One update, from the forward pass to the weights."""
    synchronize = torch.cuda.synchronize if batch[0].is_cuda else lambda: None
    synchronize()
    started = time.perf_counter()
    task(*batch)["loss"].backward()
    optimizer.step()
    optimizer.zero_grad()
    synchronize()
    return time.perf_counter() - started


def make_loss(spec: str) -> torch.nn.Module:
    loss = sosr_timm.create_loss("ce" if spec == AGAIN else spec, num_classes=100)
    loss.reminder = None  # only steps are timed: no epoch ends
    return loss


def measure_steps(model: str, batch_size: int, repeats: int, device: torch.device) -> dict[str, dict[str, float]]:
    """Median seconds and the median ratio to a neighbouring step with `ce`, for each loss."""
    classifier = timm.create_model(model, num_classes=100).to(device).train()
    optimizer = torch.optim.SGD(classifier.parameters(), lr=0.0, momentum=0.9)
    generator = torch.Generator().manual_seed(0)
    images = torch.randn(batch_size, 3, 32, 32, generator=generator).to(device)
    target = torch.randint(100, (batch_size,), generator=generator).to(device)
    losses = {spec: make_loss(spec).to(device) for spec in SPECS}
    tasks = {spec: ClassificationTask(classifier, loss, device=device, verbose=False) for spec, loss in losses.items()}
    for task in tasks.values():
        seconds_of_step(task, optimizer, (images, target))
    seconds: dict[str, list[float]] = {spec: [] for spec in SPECS}
    ratios: dict[str, list[float]] = {spec: [] for spec in SPECS}
    for turn in range(repeats):
        for spec in SPECS[1:]:
            pair = ("ce", spec) if turn % 2 else (spec, "ce")
            times = {name: seconds_of_step(tasks[name], optimizer, (images, target)) for name in pair}
            for name, value in times.items():
                seconds[name].append(value)
            ratios[spec].append(times[spec] / times["ce"])
    ratios["ce"] = [1.0]
    return {
        spec: {"seconds": statistics.median(seconds[spec]), "over_ce": statistics.median(ratios[spec])}
        for spec in SPECS
    }


def measure_losses(batch_size: int, repeats: int, device: torch.device) -> dict[str, float]:
    """Median seconds of each loss alone, forward and backward: what the step's difference is made of."""
    logits = torch.randn(batch_size, 100, device=device, requires_grad=True)
    target = torch.arange(batch_size, device=device) % 100
    found = {}
    for spec in SPECS:
        loss = make_loss(spec).to(device)
        times = []
        for _ in range(20 * repeats):
            started = time.perf_counter()
            loss(logits, target).backward()
            if device.type == "cuda":
                torch.cuda.synchronize()
            times.append(time.perf_counter() - started)
        found[spec] = statistics.median(times)
    return found


def measure_imports(repeats: int) -> dict[str, float]:
    """Median seconds of importing timm, and of importing the package after it, in processes of their own."""
    times = []
    for _ in range(repeats):
        ended = subprocess.run([sys.executable, "-c", IMPORTS], capture_output=True, text=True, check=True)
        times.append([float(word) for word in ended.stdout.split()])
    timm_alone, added = (statistics.median(values) for values in zip(*times, strict=True))
    return {"timm": timm_alone, "added": added}


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--model", default="cifar_resnet56")
    parser.add_argument("--batch-size", type=int, default=128)
    parser.add_argument("--repeats", type=int, default=3)
    parser.add_argument("--quick", action="store_true", help="a small model and few repeats, to see that it runs")
    arguments = parser.parse_args()
    if arguments.quick:
        arguments.model, arguments.batch_size, arguments.repeats = "cifar_resnet20", 16, 2
    device = torch.device("cuda" if torch.cuda.is_available() else "cpu")
    steps = measure_steps(arguments.model, arguments.batch_size, arguments.repeats, device)
    alone = measure_losses(arguments.batch_size, arguments.repeats, device)
    imports = measure_imports(3)
    table = Table(title=f"{arguments.model}, batch {arguments.batch_size}, {device}", title_justify="left")
    for name in ("loss", "step, s", "over ce", "loss alone, ms", "of the step"):
        table.add_column(name, justify="left" if name == "loss" else "right")
    for spec, values in steps.items():
        share = alone[spec] / values["seconds"]
        cells = (f"{values['seconds']:.4f}", f"{values['over_ce']:.3f}", f"{1e3 * alone[spec]:.3f}", f"{share:.2%}")
        table.add_row(spec, *cells)
    Console(width=100).print(table)
    print("import seconds: " + "  ".join(f"{name} {value:.3f}" for name, value in imports.items()))
    record = {
        "model": arguments.model,
        "batch_size": arguments.batch_size,
        "repeats": arguments.repeats,
        "threads": torch.get_num_threads(),
        "steps": steps,
        "loss_alone_seconds": alone,
        "import_seconds": imports,
        "environment": environment(),
    }
    if not arguments.quick:
        write_json(ROOT / "results" / f"bench_step_{device.type}.json", record)


if __name__ == "__main__":
    main()
