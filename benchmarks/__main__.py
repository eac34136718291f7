"""The benchmarks of training speed in turn, then the plots and README's lines of what was measured.

    python -m benchmarks [--quick]

Leave the machine alone meanwhile. Each writes results/bench_*.json and says how long it took. Four others are started
by themselves: bench_orders and scale need gigabytes of memory and disk; bench_stores compares with mosaicml-streaming,
which excludes this package's extras; resilience kills runs and fills disks.
"""

from __future__ import annotations

import argparse
import subprocess
import sys
import time

from tools.checkout import ROOT

BENCHMARKS = ("bench_loss", "bench_loader", "bench_step", "bench_recording", "bench_train", "bench_validate")


def run(*command: str) -> None:
    """One module in a Python of its own; its failure ends everything."""
    started = time.perf_counter()
    print(f"\n=== {' '.join(command)}", flush=True)
    code = subprocess.run([sys.executable, "-m", *command], cwd=ROOT, check=False).returncode
    if code:
        sys.exit(code)
    print(f"=== {command[0]}: {time.perf_counter() - started:.0f} s", flush=True)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--quick", action="store_true", help="seconds each, to see that they run; nothing is written")
    quick = parser.parse_args().quick
    started = time.perf_counter()
    for name in BENCHMARKS:
        run(f"benchmarks.{name}", *(["--quick"] if quick else []))
    if not quick:
        run("benchmarks.plots")
        run("tools.readme_page")
    print(f"\nall in {(time.perf_counter() - started) / 60:.1f} minutes")


if __name__ == "__main__":
    main()
