"""Start the missing runs of a table: what they read is checked first, and how they ended is said last."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any

from sosr_timm.data.sources.catalog import open_source
from sosr_timm.detection.voc import open_scenes
from sosr_timm.files import shortest
from sosr_timm.options.detection import DetectionDataOptions
from sosr_timm.options.load import plain
from sosr_timm.runner.executors import Executor
from sosr_timm.runner.jobs import DONE, Job
from sosr_timm.runner.outcome import Outcome
from sosr_timm.runner.pool import Pool
from sosr_timm.runner.settings import OPTIONS, arguments
from sosr_timm.text import counted


def say(line: str) -> None:
    """Print a line at once, also where the output is a file."""
    print(line, flush=True)


def missing_of(jobs: Sequence[Job]) -> list[Job]:
    """The jobs without a record, in order; where two rows ask for the same training, one run serves both."""
    return list({(job.key, job.seed): job for job in reversed(jobs) if job.state != DONE}.values())[::-1]


def command_of(
    start: Sequence[str], changes: Mapping[str, Any], weights: Callable[[Job], Path | None] = lambda job: None
) -> Callable[[Job], list[str]]:
    """Return a function that gives a job's command line.

    Args:
        start: words that start the training script.
        changes: options that override the rows'.
        weights: the file that a job starts from; None from scratch.
    """
    by_row: dict[int, list[str]] = {}

    def command(job: Job) -> list[str]:
        detects = job.table.program == "detect"
        words = by_row.setdefault(id(job.row), arguments(job.table, job.row, changes))
        where = ["--seed", str(job.seed), "--output", shortest(job.folder.path.parent), "--experiment", job.name]
        first = weights(job)
        if first:
            # A detector takes its backbone from a run folder, a classifier its weights from a file.
            where += ["--model", shortest(first.parents[2])] if detects else ["--pretrained-path", shortest(first)]
        return [*start, *words, *where, "--resume", "auto", "--checkpoint-hist", "1"]

    return command


def run_jobs(
    name: str,
    missing: Sequence[Job],
    total: int,
    executor: Executor,
    command: Callable[[Job], list[str]],
    after: Callable[[], object] = lambda: None,
) -> Outcome:
    """Run the missing jobs of a table, and print how they ended.

    Args:
        name: of the table.
        missing: to run.
        total: number of all its runs.
        executor: what starts them.
        command: see `command_of`.
        after: called after each run that finished or failed.
    """
    at_a_time = min(executor.count, len(missing))
    say(f"{name}: {len(missing)} of {counted(total, 'run')} to do, {at_a_time} at a time, each with {executor.each}")
    outcome = Pool(executor, command, say, after).run(missing)
    if outcome.signal:
        say(f"stopped {counted(len(outcome.stopped), 'run')}; run the same command again to resume")
    else:
        say(f"{name}: {len(outcome.done)} done, {len(outcome.failed)} failed, {len(outcome.stopped)} stopped")
    return outcome


def check_data(jobs: Sequence[Job]) -> None:
    """Open the evaluation images of every data set once, so that a missing one is reported before anything starts.

    Raises:
        UserError: a data set cannot be opened.
    """
    names = ("dataset", "data", "data_dir", "val_split", "class_map", "dataset_download")
    seen: list[dict[str, Any]] = []
    for job in jobs:
        if job.table.program == "detect":
            split = job.values.get("val_split", DetectionDataOptions.val_split)
            open_scenes(job.values.get("data_dir"), (split,), job.values.get("class_map", ""))
            return
        values = {name: plain(job.values.get(name, OPTIONS[name].default)) for name in names}
        if values in seen or values["dataset_download"]:
            continue
        seen.append(values)
        root = values["data"] or values["data_dir"]
        open_source(values["dataset"], root, values["val_split"], class_map=values["class_map"])


def estimate(jobs: Sequence[Job], done: int) -> str:
    """The number of runs, epochs and images, in words."""
    epochs = sum(job.epochs for job in jobs)
    counts = [job.values.get("train_num_samples") or job.table.training_images for job in jobs]
    images = sum(job.epochs * count for job, count in zip(jobs, counts, strict=True))
    replaced = any("dataset" in job.conditions and not job.values.get("train_num_samples") for job in jobs)
    amount = "images of a data set whose size is not in the table" if replaced else counted(images, "training image")
    return f"{counted(len(jobs), 'run')} to do, {done} done; {counted(epochs, 'epoch')}, {amount}"
