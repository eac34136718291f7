"""The options of sosr-compare: its own, beside those of train.py, which hold for all of its runs."""

from __future__ import annotations

import dataclasses
from dataclasses import dataclass
from typing import Any

from sosr_timm.options.fields import THIS_START, flag
from sosr_timm.options.ranges import FILE_NAME, Form, Range
from sosr_timm.options.task import losses_with_keywords
from sosr_timm.options.train import TrainOptions

FOLDER = "output/compare"  # where --output is not given
UNITS = {"s": 1, "min": 60, "h": 3600, "d": 86400}
BUDGET = Form(r"|\d+(\.\d+)?(s|min|h|d)", "a time as '90min', '2h' or '1.5d'")
# Options of train.py that a comparison sets for each of its runs, with what to give instead.
SET_BY_COMPARISON = {
    "loss": "--losses names the losses",
    "smoothing": "write label smoothing as a loss: ls, or ce(smoothing=0.2)",
    "seed": "--seeds says how many seeds; they count from 0",
    "experiment": "--name names the comparison",
    "resume": "a comparison continues by itself where it was stopped",
    "no_resume_opt": "a comparison continues by itself where it was stopped",
    "stop_epoch": "all runs end at --epochs",
    "num_processes": "--launcher starts the processes of a run",
    "bce_loss": "write it as a loss: bce",
    "jsd_loss": "write it as a loss: jsd",
}


@dataclass
class ComparisonOptions:
    losses: tuple[str, ...] = flag((), "losses to compare, each as for train.py --loss", scope=THIS_START)
    grid: tuple[str, ...] = flag(
        (), "losses with several values for a keyword, as 'sosr(beta=0.1,0.5,2.0)': a loss for each combination"
    )
    baseline: str = flag("", "loss that the others are compared with; the first of --losses where not given")
    seeds: int = flag(5, "runs of each loss, with the seeds 0, 1, ...", allowed=Range(1, 1000))
    budget: str = flag(
        "", "measure the speed first, print the plan, and start only where it fits in this time", allowed=BUDGET
    )
    select_on: float | None = flag(
        None,
        "hold out this share of the training images; choose epochs and values of --grid on it, fit temperatures on it, "
        "and evaluate on the test images once, at the end",
        allowed=Range(above=0, below=1),
    )
    select_by: str = flag(
        "", "metric to choose by; --eval-metric where not given", choices=("", "top1", "loss", "ece", "brier")
    )
    early_stop_losers: bool = flag(
        False, "after a quarter and half of the epochs drop the worse half of the losses; needs --select-on"
    )
    name: str = flag(
        "", "name of the comparison and of its folder; made from data and model where empty", allowed=FILE_NAME
    )
    results: str = flag("", "folder of records and reports; results/ in the comparison's folder where not given")
    jobs: int | None = flag(
        None,
        "runs at a time; where not given one on each GPU, or without GPUs one on each core up to 4",
        allowed=Range(1, 256),
    )
    executor: str = flag(
        "local",
        "where runs are started: on this machine, as jobs of Slurm, or by submitit on this machine to try that out",
        choices=("local", "slurm", "submitit"),
    )
    slurm: dict[str, Any] = flag(
        {}, "parameters of each job, as submitit takes them: slurm_partition=gpu timeout_min=240 ..."
    )
    launcher: str = flag("", "command that starts each run, for instance 'torchrun --nproc_per_node 2'")
    html: bool = flag(False, "write the report as an HTML page too, comparison.html", scope=THIS_START)
    report: bool = flag(False, "write the report of the runs that are done, and start none")
    status: bool = flag(False, "print how far the runs are, and start none")


def appendix(width: int) -> str:
    """What --help ends with."""
    first = f"--output is the folder of comparisons (default {FOLDER}); --dry-run prints the plan."
    return f"{first}\n\n{losses_with_keywords(width)}"


@dataclass
class CompareOptions(TrainOptions):
    """All options of sosr-compare."""

    appendix = staticmethod(appendix)

    comparison: ComparisonOptions = dataclasses.field(default_factory=ComparisonOptions)


@dataclass
class OwnOptions:
    """The options of sosr-compare beside those of train.py."""

    comparison: ComparisonOptions = dataclasses.field(default_factory=ComparisonOptions)


def seconds_of(budget: str) -> float:
    """The seconds of a --budget."""
    unit = budget.lstrip("0123456789.")
    return float(budget.removesuffix(unit)) * UNITS[unit]
