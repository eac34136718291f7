"""Kill a run anywhere, flip bytes in its checkpoints, fill its disk: what is lost? Nothing should be.

    python -m benchmarks.resilience [--kills 100] [--flips 30] [--full-disks 30]

Every trial is a real process that trains on real images, forked from one that has the libraries loaded, so that a trial
takes seconds. Prints a table and writes results/bench_resilience.json.
"""

from __future__ import annotations

import argparse
import contextlib
import io
import os
import random
import shutil
import signal
import subprocess
import tempfile
import time
from pathlib import Path

import torch

from sosr_timm.checkpoints.format import DamagedCheckpoint, checkpoint_folders, read_manifest
from sosr_timm.checkpoints.run_folder import RunFolder
from sosr_timm.distributed.processes import run_main
from sosr_timm.environment import environment
from sosr_timm.files import write_json
from sosr_timm.options.load import load
from sosr_timm.options.train import TrainOptions
from sosr_timm.training.main import run_training
from tests.training.harness import SMALL, assert_same_run
from tools.checkout import ROOT

TRAIN = (*SMALL, "--epochs", "3", "--loss", "ols+sosr", "--cutmix", "1.0", "--model-ema", "--model-ema-decay", "0.9")
TRAIN += ("--checkpoint-every", "1", "--checkpoint-hist", "3", "--experiment", "run", "--resume", "auto")
BAD_INPUTS = {
    "unknown loss": ["--loss", "sors"],
    "smoothing with ols": ["--loss", "ols", "--smoothing", "0.1"],
    "missing folder": ["--dataset", "", "--data-dir", "nowhere"],
    "unknown model": ["--model", "cifar_resnet2"],
    "unknown flag": ["--batchsize", "3"],
    "odd batch with CutMix": ["--batch-size", "7"],
    "batch larger than the data": ["--batch-size", "1000"],
    "wrong class count": ["--num-classes", "3"],
    "resume of no run": ["--resume", "benchmarks"],
    "weights that are no weights": ["--initial-checkpoint", "pyproject.toml"],
}


def start(output: Path, *arguments: str) -> int:
    """Train in a forked process; returns its number."""
    child = os.fork()
    if child:
        return child
    code = 99
    try:
        with open(os.devnull, "w") as nothing, contextlib.redirect_stdout(nothing), contextlib.redirect_stderr(nothing):
            code = run_main(lambda: run_training(load(TrainOptions, [*TRAIN, *arguments, "--output", str(output)])))
    finally:
        os._exit(code)


def finish(output: Path, *arguments: str) -> int:
    """Train to the end; returns the exit code."""
    _, status = os.waitpid(start(output, *arguments), 0)
    return os.waitstatus_to_exitcode(status)


def identical(uninterrupted: RunFolder, other: RunFolder) -> bool:
    """Whether two runs ended with the same bits."""
    try:
        assert_same_run(uninterrupted, other)
        return True
    except (AssertionError, OSError, IndexError):
        return False


def kill_anywhere(folder: Path, uninterrupted: RunFolder, count: int, seconds: float, choose: random.Random) -> dict:
    """kill -9 at random moments, from the start of the run to its end; each run is killed once or twice."""
    resumed = same = interrupted_saves = 0
    for trial in range(count):
        output = folder / f"kill{trial}"
        for _ in range(1 + trial % 2):
            child = start(output)
            time.sleep(choose.uniform(0, seconds))
            os.kill(child, signal.SIGKILL)
            os.waitpid(child, 0)
            run = RunFolder(output / "run")
            interrupted_saves += any(run.checkpoints.glob(".unfinished*")) if run.checkpoints.is_dir() else 0
        code = finish(output)
        resumed += code == 0
        same += code == 0 and identical(uninterrupted, RunFolder(output / "run"))
        shutil.rmtree(output)
        if (trial + 1) % 10 == 0:
            print(f"killed {trial + 1}: {resumed} resumed, {same} bit-identical", flush=True)
    return {"runs_killed": count, "resumed": resumed, "bit_identical": same, "killed_while_saving": interrupted_saves}


def flip_bytes(folder: Path, uninterrupted: RunFolder, count: int, choose: random.Random) -> dict:
    """Flip one bit of one file of the last checkpoint: is it found, and does the run end as it should?"""
    found = same = 0
    for trial in range(count):
        output = folder / f"flip{trial}"
        shutil.copytree(uninterrupted.path, output / "run", symlinks=True)
        run = RunFolder(output / "run")
        last = checkpoint_folders(run.checkpoints)[0]
        path = choose.choice(sorted(last.iterdir()))
        content = bytearray(path.read_bytes())
        content[choose.randrange(len(content))] ^= 1 << choose.randrange(8)
        path.write_bytes(content)
        try:
            read_manifest(last)
        except DamagedCheckpoint:
            found += 1
        same += finish(output) == 0 and identical(uninterrupted, run)
        shutil.rmtree(output)
    return {"flips": count, "found": found, "bit_identical_after_going_back": same}


def fill_disks(folder: Path, uninterrupted: RunFolder, count: int, choose: random.Random) -> dict:
    """Run on a small disk that is full for a while: is a complete checkpoint ever lost, is the end the same?"""
    disk = folder / "disk"
    disk.mkdir()
    if (
        os.geteuid()
        or subprocess.run(["mount", "-t", "tmpfs", "-o", "size=40M", "tmpfs", str(disk)], check=False).returncode
    ):
        return {"moments": 0, "why": "only root can make a small disk"}
    lost = same = refused = 0
    try:
        for trial in range(count):
            output = disk / f"full{trial}"
            child = start(output)
            time.sleep(choose.uniform(0.5, 2.5))
            filler = disk / "filler"
            room = choose.randrange(0, 400_000)
            with contextlib.suppress(OSError):
                filler.write_bytes(bytes(max(0, shutil.disk_usage(disk).free - room)))
            run = RunFolder(output / "run")
            before = len([p for p in checkpoint_folders(run.checkpoints) if is_complete(p)])
            time.sleep(0.5)
            os.kill(child, signal.SIGTERM)
            os.waitpid(child, 0)
            after = len([p for p in checkpoint_folders(run.checkpoints) if is_complete(p)])
            lost += before > 0 and after == 0
            refused += shutil.disk_usage(disk).free < 3_500_000
            filler.unlink(missing_ok=True)
            same += finish(output) == 0 and identical(uninterrupted, run)
            shutil.rmtree(output)
    finally:
        subprocess.run(["umount", "-l", str(disk)], check=True)
    return {"moments": count, "disk_was_full": refused, "checkpoints_lost": lost, "bit_identical_in_the_end": same}


def is_complete(checkpoint: Path) -> bool:
    try:
        read_manifest(checkpoint)
        return True
    except DamagedCheckpoint:
        return False


def try_bad_inputs(folder: Path) -> dict[str, str]:
    """The line that each bad input gets."""
    lines = {}
    for name, arguments in BAD_INPUTS.items():
        errors = io.StringIO()
        with contextlib.redirect_stderr(errors), contextlib.redirect_stdout(io.StringIO()):
            words = [*TRAIN, *arguments, "--output", str(folder / "bad")]
            code = run_main(lambda words=words: run_training(load(TrainOptions, words)))
        lines[name] = f"exit code {code}: {errors.getvalue().strip()}"
    return lines


def saving_stalls(uninterrupted: RunFolder) -> dict:
    """Seconds that one checkpoint takes, measured by the run itself: with and without one at every update."""
    output = uninterrupted.path.parent / "stall"
    timing = {}
    for name, every in (("each_update", "1"), ("each_epoch", "")):
        started = time.perf_counter()
        finish(output / name, "--checkpoint-every", every)
        timing[name] = time.perf_counter() - started
    saves = 3 * 7 - 3
    return {"seconds_per_checkpoint": max(0.0, timing["each_update"] - timing["each_epoch"]) / saves}


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--kills", type=int, default=100)
    parser.add_argument("--flips", type=int, default=30)
    parser.add_argument("--full-disks", type=int, default=30)
    parser.add_argument("--output", default="bench_resilience.json", help="file name in results/")
    parser.add_argument("--seed", type=int, default=0)
    arguments = parser.parse_args()
    torch.set_num_threads(1)
    choose = random.Random(arguments.seed)
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        started = time.perf_counter()
        assert finish(folder / "uninterrupted") == 0
        seconds = time.perf_counter() - started
        uninterrupted = RunFolder(folder / "uninterrupted" / "run")
        print(f"the uninterrupted run takes {seconds:.1f} s")
        record = {
            "kill": kill_anywhere(folder, uninterrupted, arguments.kills, seconds, choose),
            "flip": flip_bytes(folder, uninterrupted, arguments.flips, choose),
            "full_disk": fill_disks(folder, uninterrupted, arguments.full_disks, choose),
            "saving": saving_stalls(uninterrupted),
            "bad_input": try_bad_inputs(folder),
            "environment": environment(),
        }
    for part in ("kill", "flip", "full_disk", "saving"):
        print(part, "  ".join(f"{name} {value}" for name, value in record[part].items()))
    for name, line in record["bad_input"].items():
        print(f"{name:30s} {line}")
    write_json(ROOT / "results" / arguments.output, record)


if __name__ == "__main__":
    main()
