"""A run of a comparison: train, then evaluate the best and the last checkpoint.

python -m sosr_timm.comparison.worker [--test SPLIT] OPTIONS OF TRAIN.PY

It resumes where it was stopped, and does nothing twice.
"""

from __future__ import annotations

import json
import sys
from pathlib import Path

from accelerate.state import AcceleratorState, GradientState

from sosr_timm.checkpoints.run_folder import RESULT, RunFolder
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
    folder = RunFolder(Path(options.run.output) / options.run.experiment)
    if not (folder.path / RESULT).is_file():
        code = run_training(loaded)
        if code or not (folder.path / RESULT).is_file():
            return code
    evaluations = {
        EVALUATION: lambda processes: measure_run(folder.path, processes),
        TEST: lambda processes: measure_test(folder.path, test_split, read(folder.path / EVALUATION), processes),
    }
    processes: Processes | None = None
    for name in (EVALUATION, TEST) if test_split else (EVALUATION,):
        if (folder.path / name).is_file():
            continue
        processes = processes or processes_of(options)
        found = evaluations[name](processes)
        logger.info("evaluated on %s images", f"{found['images']:,}")
        if processes.is_main:
            with must_write(folder.path / name):
                write_json(folder.path / name, found)
        processes.wait()
    return 0


def read(path: Path) -> dict:
    return json.loads(path.read_text(encoding="utf-8"))


def processes_of(options: TrainOptions) -> Processes:
    """The same processes as in training, whose group that has left."""
    AcceleratorState._reset_state(True)
    GradientState._reset_state()
    model = options.model
    return start_processes(amp=model.amp, amp_dtype=model.amp_dtype, device=options.run.device)


if __name__ == "__main__":
    run_command(main)
