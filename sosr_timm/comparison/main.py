"""A comparison from its command line to its report: plan, check, run, choose, report."""

from __future__ import annotations

import dataclasses
import shlex
from collections import Counter
from collections.abc import Sequence

from sosr_timm.comparison.budget import check_budget, describe, describe_power, measure_speed
from sosr_timm.comparison.choices import drop_losers, rungs_of, save_choices, select_values
from sosr_timm.comparison.data import look_at_data
from sosr_timm.comparison.plan import continued, load_plan, make_plan, save_plan
from sosr_timm.comparison.report import MARKDOWN
from sosr_timm.comparison.study import PAGE, Study, folders_of
from sosr_timm.errors import UserError
from sosr_timm.files import shortest
from sosr_timm.options.compare import FOLDER, CompareOptions, seconds_of
from sosr_timm.options.load import Loaded
from sosr_timm.runner.executors import HERE, Executor, make_executor
from sosr_timm.runner.jobs import Job
from sosr_timm.runner.machine import slots
from sosr_timm.runner.outcome import Outcome
from sosr_timm.runner.settings import arguments
from sosr_timm.runner.start import missing_of, run_jobs, say


def run_comparison(loaded: Loaded[CompareOptions]) -> int:
    """Run what is missing of a comparison, choose what is to be chosen, and report.

    Returns:
        the exit code: 0, 1 where a run failed or is held by another process, 128 + N after signal N.

    Raises:
        UserError: anything that the user can fix, before anything starts.
    """
    study = prepare(loaded)
    comparison, jobs = study.options, study.jobs()
    missing = missing_of(study.jobs(study.still_trained()))
    if comparison.status:
        show_status(study, jobs)
        return 0
    if comparison.report:
        if load_plan(study.places.results) is None:
            raise UserError(
                f"{shortest(study.places.results)} holds no comparison to report; start it without --report"
            )
        return finish(study)
    if comparison.budget and comparison.executor != HERE:
        raise UserError(f"--budget measures this machine, which --executor {comparison.executor} does not use")
    if missing:
        executor_of(study, missing)  # a wrong one is reported before anything is written
    if comparison.budget and missing and load_plan(study.places.results) is None:
        plan_time(study, missing)
    elif not loaded.options.run.dry_run:
        say(describe_power(study.plan))
    if loaded.options.run.dry_run:
        for job in missing:
            say(shlex.join(study.command()(job)))
        return 0
    save_plan(study.plan, study.places.results)
    outcomes = [drop_by_halving(study)] if study.plan.early_stop_losers else []
    if not any(one.signal for one in outcomes):
        outcomes.append(run_missing(study, missing_of(study.jobs(study.still_trained()))))
    if study.selects and not any(one.signal or one.stopped or one.busy for one in outcomes):
        select(study)
        outcomes.append(run_missing(study, study.untested(), "--test", study.plan.test_split))
    code = finish(study)
    signal = next((one.signal for one in outcomes if one.signal), 0)
    if signal:
        return 128 + signal
    return 1 if any(one.failed or one.stopped or one.busy for one in outcomes) else code


def prepare(loaded: Loaded[CompareOptions]) -> Study:
    """The comparison that options ask for, new or continued; nothing is written.

    Raises:
        UserError: see `make_plan`, `look_at_data` and `continued`.
    """
    plan, words = make_plan(loaded)
    places = folders_of(loaded, plan.name, FOLDER)
    plan = dataclasses.replace(plan, data=look_at_data(loaded, plan))
    stored = load_plan(places.results)
    if stored is not None:
        plan = continued(plan, stored, places.results)
    return Study(plan, words, places, loaded)


def executor_of(study: Study, jobs: Sequence[Job]) -> Executor:
    """What starts the runs.

    Raises:
        UserError: see `make_executor`.
    """
    comparison = study.options
    return make_executor(comparison.executor, comparison.slurm, comparison.jobs, comparison.launcher, len(jobs))


def plan_time(study: Study, missing: Sequence[Job]) -> None:
    """Measure the speed, print the plan, and end where it does not fit the budget.

    Raises:
        UserError: see `check_budget`.
    """
    plan, comparison = study.plan, study.options
    used = slots(comparison.jobs, bool(comparison.launcher))[: len(missing)]
    say("measuring the speed ...")
    # Only as many losses as there are slots: a more expensive one among the others is not timed.
    commands = []
    for job in missing[: len(used)]:
        words = arguments(job.table, job.row, {})
        commands.append([*words, "--seed", str(job.seed), "--output", shortest(study.places.output)])
    speed = measure_speed(commands, used)
    say(describe(plan, speed, len(missing), len(used)))
    say(describe_power(plan))
    check_budget(plan, speed, len(missing), len(used), seconds_of(comparison.budget))


def run_missing(study: Study, jobs: Sequence[Job], *words: str, more: Sequence[str] = ()) -> Outcome:
    """Run jobs, and write the report again after each."""
    if not jobs:
        return Outcome()
    total = len(study.jobs())
    command, executor = study.command(*words, more=more), executor_of(study, jobs)
    return run_jobs(study.plan.name, jobs, total, executor, command, after=study.report)


def drop_by_halving(study: Study) -> Outcome:
    """Train all losses up to each rung and drop the worse half there; what was dropped before stays dropped."""
    together = Outcome()
    for rung in rungs_of(study.plan.epochs):
        if rung in study.choices.rungs:
            continue
        jobs = study.jobs(study.still_trained(), until=rung)
        jobs = [job for job in missing_of(jobs) if not job.is_complete]
        outcome = run_missing(study, jobs, more=("--stop-epoch", str(rung)))
        together.failed += outcome.failed
        together.signal, together.stopped, together.busy = outcome.signal, outcome.stopped, outcome.busy
        if outcome.signal or outcome.stopped or outcome.busy:
            break
        before = study.choices
        study.choices = drop_losers(study.plan, before, rung, study.held_out)
        if study.choices is before:  # every loss failed
            break
        save_choices(study.choices, study.places.results)
        say(f"after epoch {rung}: {len(study.still_trained())} losses are trained further")
    return together


def select(study: Study) -> None:
    """Choose the values of the grids, once."""
    grids = {one.grid for one in study.still_trained() if one.grid}
    if grids <= study.choices.selected.keys():
        return
    study.choices = select_values(study.plan, study.choices, study.held_out)
    save_choices(study.choices, study.places.results)
    for grid, loss in study.choices.selected.items():
        say(f"selected from {grid}: {loss}")


def finish(study: Study) -> int:
    """Write the report and print its sentences."""
    content = study.report()
    for sentence in content["summary"]:
        say(sentence)
    say(f"report: {shortest(study.places.results / MARKDOWN)}")
    if study.options.html:
        say(f"page: {shortest(study.places.results / PAGE)}")
    return 0


def show_status(study: Study, jobs: Sequence[Job]) -> None:
    """A line for each loss: how many runs are in which state."""
    for one in study.plan.losses:
        counts = Counter(job.state for job in jobs if job.row.loss == one.loss)
        words = ", ".join(f"{count} {state}" for state, count in sorted(counts.items()))
        state = study.state(one)
        say(f"{one.loss}: {state.status}; runs: {words}")
