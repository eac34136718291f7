"""Runs as processes, several at a time: started, watched, stopped on a signal, and recorded when they finish."""

from __future__ import annotations

import fcntl
import signal
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from types import FrameType

from sosr_timm.files import shortest
from sosr_timm.metrics.titles import DETECTION, ONE_CLASS
from sosr_timm.runner.collect import record_of
from sosr_timm.runner.executors import Executor, Handle
from sosr_timm.runner.jobs import Job
from sosr_timm.runner.outcome import Outcome
from sosr_timm.runner.record import save_record
from sosr_timm.text import counted, duration

MAP = DETECTION["map_11point"]
TAIL = 15  # lines of a failed run's log that are shown
POLL, REPORT = 0.2, 60.0  # seconds


@dataclass
class Running:
    """A run in progress; `asked` is true once it was asked to stop."""

    job: Job
    handle: Handle
    slot: int
    asked: bool = False


class Pool:
    """Runs jobs, several at a time.

    A first SIGINT or SIGTERM asks the runs for a checkpoint and waits for them; a second one kills them.

    Args:
        executor: what starts them.
        command: returns the words that start a job's run.
        say: prints a line.
        after: called after each run that finished or failed.
    """

    def __init__(
        self,
        executor: Executor,
        command: Callable[[Job], list[str]],
        say: Callable[[str], None],
        after: Callable[[], object] = lambda: None,
    ):
        self.executor, self.command, self.say, self.after = executor, command, say, after
        self.running: list[Running] = []
        self.outcome = Outcome()
        self.signals = 0

    def run(self, jobs: Sequence[Job]) -> Outcome:
        """Start every job, wait for all; returns how they ended."""
        waiting, total = list(jobs), len(jobs)
        self.started, self.reported = time.monotonic(), time.monotonic()
        self.before = sum(job.share_done() for job in jobs)
        previous = {number: signal.signal(number, self._on_signal) for number in (signal.SIGINT, signal.SIGTERM)}
        try:
            while (waiting and not self.outcome.signal) or self.running:
                changed = self._start(waiting) + self._collect()
                self._forward_signal()
                if changed or time.monotonic() - self.reported >= REPORT:
                    self.reported = time.monotonic()
                    self.say(self._progress(jobs, total))
                time.sleep(POLL)
        finally:
            self._send(signal.SIGTERM)  # after an error in this process
            for number, handler in previous.items():
                signal.signal(number, handler)
        return self.outcome

    def _start(self, waiting: list[Job]) -> int:
        """Start a job in every free slot; returns how many were started."""
        count = 0
        taken = {one.slot for one in self.running}
        for slot in (slot for slot in range(self.executor.count) if slot not in taken):
            while waiting and not self.outcome.signal:
                started = self._launch(waiting.pop(0), slot)
                if started:
                    self.running.append(started)
                    count += 1
                    break
        return count

    def _launch(self, job: Job, slot: int) -> Running | None:
        if job.is_complete:
            self._finish(job)
            return None
        job.log.parent.mkdir(parents=True, exist_ok=True)
        found = self.executor.find(job)
        if found:
            self.say(f"{job.name} is still running; log {shortest(job.log)}")
            return Running(job, found, slot)
        log = open(job.log, "ab")  # noqa: SIM115 - held, with its lock, by the run too
        try:
            fcntl.flock(log, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except OSError:
            self.say(f"{job.name}: another process runs it; skipped")
            self.outcome.busy.append(job)
            log.close()
            return None
        job.failure.unlink(missing_ok=True)
        words = self.command(job)
        log.write(f"\n$ {' '.join(words)}\n".encode())
        log.flush()
        handle = self.executor.start(job, words, log, slot)
        self.say(f"started {job.name}, log {shortest(job.log)}")
        return Running(job, handle, slot)

    def _collect(self) -> int:
        """Handle the runs that have ended; returns how many."""
        codes = [(one, one.handle.poll()) for one in self.running]
        ended = [(one, code) for one, code in codes if code is not None]
        for one, code in ended:
            self.running.remove(one)
            one.handle.close()
            if code == 0 and one.job.is_complete:
                self._finish(one.job)
            elif code == 0 or self.outcome.signal:
                self.say(f"stopped {one.job.name}")
                self.outcome.stopped.append(one.job)
            else:
                self._fail(one.job, code)
        return len(ended)

    def _finish(self, job: Job) -> None:
        """Write the record of a finished run; if that fails, the next start tries again."""
        if not job.has_product:
            self.say(f"{job.name}: {counted(job.until, 'epoch')} done")
            self.outcome.done.append(job)
            return
        try:
            record = record_of(job)
            save_record(record, job.record)
        except (OSError, ValueError) as error:
            self.say(f"FAILED {job.name}: its record was not written ({error}); run the table again to write it")
            self.outcome.failed.append(job)
            return
        self.outcome.done.append(job)
        self.after()
        title, name = (ONE_CLASS["top1"], "top1") if "top1" in record.run.best else (MAP, "map_11point")
        best, last = (title.text(metrics[name]) for metrics in (record.run.best, record.run.last))
        self.say(f"done {job.name}: best {best}, last {last}")

    def _fail(self, job: Job, code: int) -> None:
        job.failure.write_text(f"{code}\n", encoding="utf-8")
        this_start = job.log.read_text(encoding="utf-8", errors="replace").rpartition("\n$ ")[2]
        lines = this_start.splitlines()[1:][-TAIL:]
        self.say(f"FAILED {job.name}, exit code {code}; the end of {shortest(job.log)}:")
        for line in lines:
            self.say(f"    {line}")
        self.outcome.failed.append(job)
        self.after()

    def _progress(self, jobs: Sequence[Job], total: int) -> str:
        ended = len(self.outcome.done) + len(self.outcome.failed)
        share = sum(job.share_done() for job in jobs if job not in self.outcome.failed)
        elapsed, left = time.monotonic() - self.started, total - len(self.outcome.failed) - share
        trained = share - self.before
        eta = f"about {duration(elapsed * left / trained)} left" if trained > 0 else "no estimate yet"
        return (
            f"[{ended}/{total}] {len(self.running)} running, {len(self.outcome.failed)} failed, "
            f"{share / total:.0%} trained after {duration(elapsed)}, {eta}"
        )

    def _on_signal(self, number: int, frame: FrameType | None) -> None:
        self.signals += 1
        self.outcome.signal = self.outcome.signal or number

    def _forward_signal(self) -> None:
        """Forward a stop request to the runs, including one that was just being started."""
        if self.signals > 1:
            self._send(signal.SIGKILL)
        elif self.signals and not all(one.asked for one in self.running):
            self.say("stopping: the runs write a checkpoint first; a second signal kills them")
            self._send(signal.SIGTERM)

    def _send(self, number: int) -> None:
        for one in self.running:
            one.asked = True
            one.handle.send(number)
