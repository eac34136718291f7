"""Runs as jobs of a Slurm cluster, by submitit: one job a run, with the records, logs and states of local runs."""

from __future__ import annotations

import json
import signal
import subprocess
import tempfile
import time
from collections.abc import Sequence
from contextlib import suppress
from pathlib import Path
from typing import IO, Any

from sosr_timm.errors import UserError, one_line
from sosr_timm.extras import import_extra
from sosr_timm.files import write_json, write_text
from sosr_timm.runner.executors import SLURM
from sosr_timm.runner.jobs import Job
from sosr_timm.runner.submitted_work import Work

FOLDER = ".submitit"  # beside the run folders: what submitit stores of each job
DEFAULTS = {"timeout_min": 24 * 60, "stderr_to_stdout": True}
MOST_TIMEOUTS = 1000  # of a run that is put back into the queue at its time limit
ASK_QUEUE = 5.0  # seconds between two questions
GRACE = 10.0  # seconds that a result may take to be seen on a shared file system after its job has left the queue


class Submission:
    """A job in the queue or running.

    Args:
        job: the run.
        submitted: submitit's job.
        on_slurm: asked for by `squeue`; else it is a process of submitit's on this machine.
        tasks: of the job.
    """

    def __init__(self, job: Job, submitted: Any, on_slurm: bool, tasks: int):
        self.job, self.submitted, self.on_slurm, self.tasks = job, submitted, on_slurm, tasks
        self._asked = self._gone_since = self._result_since = 0.0
        self._codes: dict[int, int] = {}

    def poll(self) -> int | None:
        """The exit code of the run; 0 where the job ended without one, because it was cancelled or its node failed."""
        for task in set(range(self.tasks)) - self._codes.keys():
            code = self._code_of(task)
            if code is not None:
                self._codes[task] = code
        failed = next((code for code in self._codes.values() if code), 0)
        if len(self._codes) == self.tasks:
            return failed
        if failed:  # the others may wait for it forever
            self._result_since = self._result_since or time.monotonic()
            if time.monotonic() - self._result_since > GRACE:
                self.submitted.cancel(check=False)
                return failed
        if time.monotonic() - self._asked < (ASK_QUEUE if self.on_slurm else 0.0):
            return None
        self._asked = time.monotonic()
        if self.is_active():
            self._gone_since = 0.0
            return None
        self._gone_since = self._gone_since or time.monotonic()
        # Its result may have been written since it was looked for.
        grace = GRACE if self.on_slurm else 1.0
        return 0 if time.monotonic() - self._gone_since > grace else None

    def _code_of(self, task: int) -> int | None:
        """The exit code of a task of the job; None while it has none."""
        from submitit.core.utils import pickle_load

        path = self.submitted.paths.result_pickle if not task else self._paths(task).result_pickle
        try:
            outcome, value = pickle_load(path)  # what the job returned, in submitit's own format
        except FileNotFoundError:
            return None
        except Exception:  # a damaged pickle can raise anything
            return 1
        if outcome == "success":
            return int(value)
        with open(self.job.log, "a", encoding="utf-8") as log:
            log.write(f"{value}\n")
        return 1

    def _paths(self, task: int) -> Any:
        from submitit.core.utils import JobPaths

        return JobPaths(self.submitted.paths.folder, self.submitted.job_id, task)

    def is_active(self) -> bool:
        """Whether the job waits or runs. A queue that does not answer counts as yes: nothing is given up for it."""
        if not self.on_slurm:
            return self.submitted.get_info()["jobState"] == "RUNNING"
        command = ["squeue", "--noheader", "--jobs", str(self.submitted.job_id), "--format", "%T"]
        try:
            done = subprocess.run(command, capture_output=True, text=True, timeout=60, check=False)
        except (OSError, subprocess.SubprocessError):
            return True
        if done.returncode:
            return "Invalid job id" not in done.stderr
        return bool(done.stdout.strip())

    def send(self, number: int) -> None:
        """Ask the run to stop by a file that its job looks for; a job that has not started is taken from the queue."""
        with suppress(OSError):
            write_text(self.job.stop, signal.Signals(number).name)
        waiting = self.on_slurm and not self.job.is_running
        if number == signal.SIGKILL or waiting:
            self.submitted.cancel(check=False)

    def close(self) -> None:
        """Forget the job."""
        for path in (self.job.stop, self.job.submitted):
            path.unlink(missing_ok=True)


class Submitted:
    """Runs as jobs.

    Args:
        cluster: "slurm", or "submitit" for its own executor on this machine.
        parameters: of a job, as submitit takes them: slurm_partition, timeout_min, gpus_per_node, ...
        count: jobs at a time.

    Raises:
        UserError: submitit is not installed, there is no Slurm, or a parameter that it does not have.
    """

    def __init__(self, cluster: str, parameters: dict[str, Any], count: int):
        self.submitit = import_extra("submitit", "slurm", f"--executor {cluster}")
        self.on_slurm, self.count = cluster == SLURM, count
        self.parameters = {**DEFAULTS, **parameters}
        if self.parameters.get("nodes", 1) != 1 and not self.on_slurm:
            raise UserError("--executor submitit has one node")
        self.tasks = self.parameters.get("tasks_per_node", 1) * self.parameters.get("nodes", 1)
        with tempfile.TemporaryDirectory() as folder:
            self.executor(Path(folder))  # so that a wrong parameter is reported before anything starts
        self.each = f"a job of {'Slurm' if self.on_slurm else 'submitit'} with {self.in_words()}"

    def in_words(self) -> str:
        return " ".join(f"{name}={value}" for name, value in self.parameters.items() if name != "stderr_to_stdout")

    def executor(self, folder: Path) -> Any:
        """submitit's executor.

        Raises:
            UserError: there is no Slurm, or a parameter that it does not have.
        """
        try:
            executor = self.submitit.AutoExecutor(
                folder=folder, cluster="slurm" if self.on_slurm else "local", slurm_max_num_timeout=MOST_TIMEOUTS
            )
            executor.update_parameters(**self.parameters)
        except (RuntimeError, ValueError, NameError, TypeError, AssertionError) as error:
            raise UserError(f"--executor {SLURM if self.on_slurm else 'submitit'}: {one_line(error)}") from None
        return executor

    def find(self, job: Job) -> Submission | None:
        """The job that an earlier start of the runner left in the queue."""
        try:
            stored = json.loads(job.submitted.read_text(encoding="utf-8"))
            folder, number = submission_folder(job), str(stored["job"])
        except (OSError, ValueError, KeyError, TypeError):
            return None
        if not self.on_slurm:
            return None
        known = self.submitit.SlurmJob(folder=folder, job_id=number, tasks=range(self.tasks))
        found = Submission(job, known, True, self.tasks)
        return found if found.submitted.paths.result_pickle.exists() or found.is_active() else None

    def start(self, job: Job, words: Sequence[str], log: IO[bytes], slot: int) -> Submission:
        """Submit a run."""
        log.close()  # the job holds it while it runs
        job.stop.unlink(missing_ok=True)
        work = Work(
            list(words), job.log.resolve(), (job.folder.path / job.product).resolve(), job.stop.resolve(), self.tasks
        )
        executor = self.executor(submission_folder(job).resolve())
        executor.update_parameters(name=job.name[:60])
        try:
            submitted = executor.submit(work)
        except Exception as error:
            raise UserError(f"{job.name} was not submitted: {one_line(error)}") from None
        write_json(job.submitted, {"job": str(submitted.job_id)})
        return Submission(job, submitted, self.on_slurm, self.tasks)


def submission_folder(job: Job) -> Path:
    """What submitit stores of the runs of a table."""
    return job.folder.path.parent / FOLDER
