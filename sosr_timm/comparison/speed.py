"""Measure how long a run takes: python -m sosr_timm.comparison.speed FILE LOSS OPTIONS OF TRAIN.PY

Writes seconds as JSON into FILE: of the start, of an update, of an evaluation and of an epoch.
"""

from __future__ import annotations

import sys
import time
from pathlib import Path

from sosr_timm.distributed.processes import run_command, start_processes
from sosr_timm.errors import UserError

SECONDS = 6.0  # of updates
FEWEST = 3  # updates that are timed, after two that warm up


def main() -> int:
    started = time.perf_counter()
    if len(sys.argv) < 3 or sys.argv[1].startswith("-"):
        from sosr_timm.options.load import load
        from sosr_timm.options.train import TrainOptions

        load(TrainOptions, sys.argv[1:], __doc__ or "")
        raise UserError("give the file to write, then options of train.py")
    return measure(Path(sys.argv[1]), sys.argv[2:], started)


def measure(path: Path, words: list[str], started: float) -> int:
    """Build a run, time its updates and its evaluation, and write the seconds.

    Args:
        path: of the file to write.
        words: options of train.py.
        started: time.perf_counter() at the start.

    Raises:
        UserError: whatever would end a run at its start.
    """
    from sosr_timm.checkpoints.run_folder import RunFolder
    from sosr_timm.files import write_json
    from sosr_timm.options.load import load
    from sosr_timm.options.train import TrainOptions
    from sosr_timm.training.build import build_run
    from sosr_timm.training.evaluate import evaluate
    from sosr_timm.training.loop import train_update, wait_for_device

    loaded = load(TrainOptions, words)
    options = loaded.options
    model = options.model
    processes = start_processes(amp=model.amp, amp_dtype=model.amp_dtype, device=options.run.device)
    run = build_run(options, processes, RunFolder(Path(options.run.output) / "speed"))
    run.loss.set_progress(0.0)
    run.task.train()
    batches = run.batches()

    def update() -> None:
        run.schedule.set(0, run.progress.update)
        train_update(run, batches)
        run.progress.update += 1
        wait_for_device(processes.device)

    for _ in range(min(2, run.updates_per_epoch - 1)):
        update()
    start_seconds = time.perf_counter() - started
    seconds: list[float] = []
    while run.progress.update < run.updates_per_epoch and (len(seconds) < FEWEST or sum(seconds) < SECONDS):
        before = time.perf_counter()
        update()
        seconds.append(time.perf_counter() - before)
    one_update = sum(seconds) / len(seconds)
    timed, before = 0, time.perf_counter()

    def enough() -> bool:
        nonlocal timed
        done = timed >= 2 and time.perf_counter() - before > SECONDS / 2
        timed += not done
        return done

    if run.evaluation is not None:
        evaluate(run.model, run.evaluation_loader, run.evaluation, processes, stop=enough)
    wait_for_device(processes.device)
    turns = -(-run.evaluation.num_batches // processes.count) if run.evaluation is not None else 0
    evaluation = (time.perf_counter() - before) * turns / max(1, timed)
    epoch = one_update * run.updates_per_epoch + evaluation / options.run.val_interval
    if processes.is_main:
        found = {"start": start_seconds, "update": one_update, "evaluation": evaluation, "epoch": epoch}
        write_json(path, found)
    processes.wait()
    return 0


if __name__ == "__main__":
    run_command(main)
