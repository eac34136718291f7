"""A comparison and its files: its runs, their commands, records and states, its report."""

from __future__ import annotations

import dataclasses
import shlex
import sys
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any

from sosr_timm.comparison.choices import held_out_value, kept, load_choices, shown
from sosr_timm.comparison.plan import Candidate, Plan, table_of
from sosr_timm.comparison.report import write_report
from sosr_timm.comparison.result import COMPLETE, DROPPED, FAILED, NOT_SELECTED, RUNNING, State
from sosr_timm.errors import UserError
from sosr_timm.options.compare import CompareOptions
from sosr_timm.options.load import Loaded
from sosr_timm.page.comparisons import content_of_comparison
from sosr_timm.page.main import write_page
from sosr_timm.runner.collect import history_of
from sosr_timm.runner.jobs import DONE, EVALUATION, TEST, Job, Places, plan_jobs
from sosr_timm.runner.jobs import FAILED as FAILED_RUN
from sosr_timm.runner.record import Record, load_record
from sosr_timm.runner.start import command_of
from sosr_timm.text import counted

PAGE = "comparison.html"
WORKER = ("-m", "sosr_timm.comparison.worker")


class Study:
    """A comparison and where its files are.

    Args:
        plan: of the comparison.
        words: options of train.py to give to each run.
        places: folders of runs and records.
        loaded: all options, with what was given.
    """

    def __init__(self, plan: Plan, words: dict[str, Any], places: Places, loaded: Loaded[CompareOptions]):
        self.plan, self.words, self.places, self.loaded = plan, words, places, loaded
        self.options = loaded.options.comparison
        self.table = table_of(plan, words)
        self.choices = load_choices(places.results)

    @property
    def selects(self) -> bool:
        """Whether the evaluation images are held-out ones, and the test images others."""
        return self.plan.select_on is not None

    def jobs(self, losses: Sequence[Candidate] | None = None, until: int = 0) -> list[Job]:
        """The runs of some losses, of all where not given, by seed.

        Args:
            losses: of the plan.
            until: epochs after which they stop for now; 0: none.
        """
        wanted = {one.loss for one in (self.plan.losses if losses is None else losses)}
        rows = [row for row in self.table.rows if row.loss in wanted]
        jobs = plan_jobs(self.table, rows, None, {}, self.places)
        return [dataclasses.replace(job, product=EVALUATION, finished=False, until=until) for job in jobs]

    def command(self, *words: str, more: Sequence[str] = ()) -> Callable[[Job], list[str]]:
        """What gives a job's command line.

        Args:
            words: of the worker, before the options of train.py.
            more: options of train.py, after all others.
        """
        start = [*(shlex.split(self.options.launcher) or [sys.executable]), *WORKER, *words]
        command = command_of(start, {})
        return lambda job: [*command(job), *more]

    def record(self, job: Job) -> Record | None:
        """The record of a run; None where it has none.

        Raises:
            UserError: it is damaged.
        """
        try:
            return load_record(job.record) if job.record.is_file() else None
        except ValueError as error:
            raise UserError(str(error)) from None

    def records(self, jobs: Sequence[Job]) -> list[Record]:
        """The records of finished runs."""
        return [record for record in map(self.record, jobs) if record]

    def untested(self) -> list[Job]:
        """The runs that are shown, are trained, and have not been evaluated on the test images."""
        jobs = []
        for job in self.jobs(shown(self.plan, self.choices)):
            record = self.record(job)
            if record and not record.test:
                jobs.append(dataclasses.replace(job, product=TEST))
        return jobs

    def held_out(self, one: Candidate, epochs: int = 0) -> Mapping[int, float]:
        """A loss's held-out values by seed; none where one of its runs has not got that far.

        Args:
            one: the loss.
            epochs: that have passed; 0: all.
        """
        found = {}
        for job in self.jobs([one]):
            record = self.record(job)
            history = record.history if record else history_of(job.folder) if job.folder.metrics.is_file() else []
            evaluated = [epoch for epoch in history[: epochs or None] if f"eval_{self.plan.select_by}" in epoch]
            if len(history) < (epochs or self.plan.epochs) or not evaluated:
                return {}
            found[job.seed] = held_out_value(evaluated[-1], self.plan.select_by)
        return found

    def states(self) -> dict[str, State]:
        """How far each loss is."""
        return {one.loss: self.state(one) for one in self.plan.losses}

    def state(self, one: Candidate) -> State:
        """How far a loss is."""
        if one.full_form in self.choices.dropped:
            return State(DROPPED, self.choices.dropped[one.full_form])
        if one.full_form in self.choices.not_selected:
            return State(NOT_SELECTED, self.choices.not_selected[one.full_form])
        jobs = self.jobs([one])
        failed = [job for job in jobs if job.state == FAILED_RUN]
        if failed:
            return State(FAILED, failure_of(failed[0]))
        records = self.records([job for job in jobs if job.state == DONE])
        done = sum(bool(record.test) or not self.selects for record in records)
        if done == len(jobs):
            return State(COMPLETE)
        tested = " and evaluated on the test images" if self.selects else ""
        return State(RUNNING, f"{done} of {counted(len(jobs), 'run')} done{tested}")

    def report(self) -> dict[str, Any]:
        """Write the report of what there is, with --html as a page too; returns the content of comparison.json."""
        folder = self.places.results
        content = write_report(self.plan, self.records(self.jobs()), self.states(), folder)
        if self.options.html:
            write_page(content_of_comparison(folder), folder / PAGE)
        return content

    def still_trained(self) -> list[Candidate]:
        """The losses that were not dropped."""
        return kept(self.plan, self.choices)


def failure_of(job: Job) -> str:
    """In which epoch a run failed, and the last line of its log."""
    try:
        lines = [line.strip() for line in job.log.read_text(encoding="utf-8", errors="replace").splitlines()]
    except OSError:
        lines = []
    said = next((line for line in reversed(lines) if line), "no log").partition("error: ")
    return f"seed {job.seed}, epoch {job.epochs_done + 1}: {(said[2] or said[0])[:200]}"


def folders_of(loaded: Loaded[CompareOptions], name: str, default: str) -> Places:
    """Where a comparison's runs and records are.

    Args:
        loaded: all options.
        name: of the comparison.
        default: folder of comparisons where --output is not given.
    """
    output = Path(loaded.command_line.get("output") or default) / name
    results = loaded.options.comparison.results
    return Places(output, Path(results) if results else output / "results", single=True)
