"""`--budget 2h`: how long a comparison will take on this machine, and the nearest plan that fits."""

from __future__ import annotations

import json
import math
import subprocess
import sys
import tempfile
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from os import environ
from pathlib import Path

from sosr_timm.comparison.plan import Plan
from sosr_timm.comparison.statistics import detectable_in_deviations
from sosr_timm.errors import UserError, one_line
from sosr_timm.text import counted, duration

FEWEST_SEEDS = 2  # with one seed nothing can be concluded
EVALUATIONS = 2  # of the best and the last checkpoint, each with other metrics
LONGEST = 900  # seconds of a measurement


@dataclass(frozen=True)
class Speed:
    """What a run takes, in seconds, with as many runs beside it as there will be.

    Attributes:
        start: until the first update.
        epoch: an epoch with its evaluation.
        evaluation: of all evaluation images.
    """

    start: float
    epoch: float
    evaluation: float

    def of_run(self, epochs: int) -> float:
        """Seconds of a run."""
        return self.start + epochs * self.epoch + EVALUATIONS * self.evaluation


def measure_speed(commands: Sequence[Sequence[str]], slots: Sequence[dict[str, str]]) -> Speed:
    """Time a short piece of training in each slot at the same time, because runs beside each other slow each other.

    Args:
        commands: the words of train.py for each slot, without the program.
        slots: the environment of each.

    Raises:
        UserError: a run fails at its start; the line is the run's own.
    """
    with tempfile.TemporaryDirectory() as folder:
        files = [Path(folder) / f"{number}.json" for number in range(len(slots))]
        processes = [
            subprocess.Popen(
                [sys.executable, "-m", "sosr_timm.comparison.speed", str(file), *words],
                env={**environ, **slot},
                stdout=subprocess.DEVNULL,
                stderr=subprocess.PIPE,
                text=True,
            )
            for file, words, slot in zip(files, commands, slots, strict=False)
        ]
        try:
            errors = [process.communicate(timeout=LONGEST)[1] for process in processes]
        except subprocess.TimeoutExpired:
            raise UserError(f"--budget: {LONGEST} s were not enough to measure the speed") from None
        finally:
            for process in processes:
                process.kill()
        for process, error in zip(processes, errors, strict=True):
            if process.returncode:
                said = next((line for line in reversed(error.splitlines()) if line.strip()), "no message")
                raise UserError(f"--budget: a run fails at its start: {one_line(said.partition('error: ')[2] or said)}")
        found = [json.loads(file.read_text(encoding="utf-8")) for file in files[: len(processes)]]
    # The slowest decides when a slot is free again.
    return Speed(*(max(one[name] for one in found) for name in ("start", "epoch", "evaluation")))


def describe(plan: Plan, speed: Speed, runs: int, slots: int) -> str:
    """The plan in a line: runs, epochs, hours."""
    total = seconds_of(speed, plan.epochs, runs, slots)
    one = duration(speed.of_run(plan.epochs))
    return (
        f"plan: {counted(runs, 'run')} of {counted(plan.epochs, 'epoch')}, {counted(runs * plan.epochs, 'epoch')} in "
        f"all; about {one} a run, {slots} at a time: about {duration(total)}"
    )


def describe_power(plan: Plan) -> str:
    """What differences the seeds can show, before any run has ended."""
    seeds = min(one.seeds for one in plan.losses)
    if seeds < 2:
        return "with one seed no difference can be told from chance; take at least 3"
    deviations = detectable_in_deviations(seeds, len(plan.others))
    images = plan.data.get("test_images", plan.data["evaluation_images"])
    example = 100 * math.sqrt(2 * 0.9 * 0.1 / images)
    return (
        f"with {counted(seeds, 'seed')} and {counted(len(plan.others), 'loss', 'losses')} against {plan.baseline}, a "
        f"difference of {deviations:.1f} standard deviations of the paired differences is found with a probability of "
        f"80 %: {deviations * example:.2f} points of top-1 if two runs at 90 % differ as two random samples of "
        f"{images:,} images do"
    )


def check_budget(plan: Plan, speed: Speed, runs: int, slots: int, budget: float) -> None:
    """Raise where the runs do not fit.

    Args:
        plan: of the comparison.
        speed: measured.
        runs: to do.
        slots: runs at a time.
        budget: in seconds.

    Raises:
        UserError: the budget is too small for one run, or for the plan; then the line names the nearest ones that fit.
    """
    if seconds_of(speed, plan.epochs, runs, slots) <= budget:
        return
    one = speed.of_run(plan.epochs)
    given = f"--budget of {duration(budget)}"
    if speed.of_run(1) > budget:
        raise UserError(f"the {given} is too small for one run: one epoch alone takes {duration(speed.of_run(1))}")
    losses = len(plan.losses)
    fits: Callable[[int, int], bool] = lambda seeds, epochs: (  # noqa: E731
        seconds_of(speed, epochs, losses * seeds, slots) <= budget
    )
    seeds = max(candidate.seeds for candidate in plan.losses)
    fewer = next((count for count in range(seeds - 1, FEWEST_SEEDS - 1, -1) if fits(count, plan.epochs)), 0)
    shorter = next((count for count in range(plan.epochs - 1, 0, -1) if fits(seeds, count)), 0)
    both = next((count for count in range(plan.epochs - 1, 0, -1) if fits(FEWEST_SEEDS, count)), 0)
    advice = []
    if fewer:
        advice.append(f"--seeds {fewer} ({duration(seconds_of(speed, plan.epochs, losses * fewer, slots))})")
    if shorter:
        advice.append(f"--epochs {shorter} ({duration(seconds_of(speed, shorter, losses * seeds, slots))})")
    if not advice and both:
        advice.append(f"--seeds {FEWEST_SEEDS} --epochs {both}")
    if one > budget:
        raise UserError(
            f"the {given} is too small for one run of {counted(plan.epochs, 'epoch')} ({duration(one)})"
            + (f"; {' or '.join(advice)} fits" if advice else "; take fewer losses, or a smaller model")
        )
    total = duration(seconds_of(speed, plan.epochs, runs, slots))
    nearest = f"nearest plan that fits: {' or '.join(advice)}" if advice else "take fewer losses, or a smaller model"
    raise UserError(f"{counted(runs, 'run')} take about {total}, more than the {given}; {nearest}")


def seconds_of(speed: Speed, epochs: int, runs: int, slots: int) -> float:
    """Seconds of all runs, as many at a time as there are slots."""
    return math.ceil(runs / slots) * speed.of_run(epochs)
