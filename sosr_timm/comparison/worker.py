"""A run of a comparison: train, then evaluate the best and the last checkpoint.

python -m sosr_timm.comparison.worker [--test SPLIT] OPTIONS OF TRAIN.PY

It resumes where it was stopped, and does nothing twice.
"""

from __future__ import annotations

import json
import sys
from pathlib import Path

from accelerate.state import AcceleratorState, GradientState

from sosr_timm.checkpoints.run_folder import RESULT
from sosr_timm.comparison.checkpoint_metrics import measure_run, measure_test
from sosr_timm.distributed.processes import Processes, run_command, start_processes
from sosr_timm.files import must_write, write_json
from sosr_timm.options.load import Loaded, load
from sosr_timm.options.train import TrainOptions
from sosr_timm.runner.jobs import EVALUATION, TEST
from sosr_timm.tracking.console import logger
from sosr_timm.training.main import run_training


def main() -> int:
    words = sys.argv[1:]
    split = words[1] if words[:1] == ["--test"] else ""
    return run(load(TrainOptions, words[2:] if split else words), split)


def run(loaded: Loaded[TrainOptions], test_split: str = "") -> int:
    """Train and evaluate.

    Args:
        loaded: options of the run; --output and --experiment name its folder.
        test_split: evaluate on it too; "" not yet.

    Returns:
        the exit code; 0 without a record where the run was asked to stop.

    Raises:
        UserError: anything that the user can fix.
    """
    options = loaded.options
    folder = Path(options.run.output) / options.run.experiment

    def then(processes: Processes) -> None:
        evaluate(folder, test_split, processes)

    if not (folder / RESULT).is_file():
        return run_training(loaded, then)
    then(processes_of(options))
    return 0


def evaluate(folder: Path, test_split: str, processes: Processes) -> None:
    """Evaluate a finished run on what it has not been evaluated on.

    Raises:
        UserError: its files or its data cannot be read.
    """
    evaluations = {EVALUATION: lambda: measure_run(folder, processes)}
    if test_split:
        evaluations[TEST] = lambda: measure_test(folder, test_split, read(folder / EVALUATION), processes)
    for name, measure in evaluations.items():
        if (folder / name).is_file():
            continue
        processes.wait()  # until every process has looked
        found = measure()
        logger.info("evaluated on %s images", f"{found['images']:,}")
        if processes.is_main:
            with must_write(folder / name):
                write_json(folder / name, found)
        processes.wait()


def read(path: Path) -> dict:
    return json.loads(path.read_text(encoding="utf-8"))


def processes_of(options: TrainOptions) -> Processes:
    """The processes of a run that was trained before."""
    AcceleratorState._reset_state(True)
    GradientState._reset_state()
    model = options.model
    return start_processes(amp=model.amp, amp_dtype=model.amp_dtype, device=options.run.device)


if __name__ == "__main__":
    run_command(main)
