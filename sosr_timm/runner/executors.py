"""Where runs are started: as processes of this machine, or as jobs of a cluster."""

from __future__ import annotations

import os
import subprocess
from collections.abc import Sequence
from dataclasses import dataclass
from typing import IO, Any, Protocol

from sosr_timm.errors import UserError
from sosr_timm.runner.jobs import Job
from sosr_timm.runner.machine import slots

HERE, SLURM, TRIAL = "local", "slurm", "submitit"
EXECUTORS = (HERE, SLURM, TRIAL)


class Handle(Protocol):
    """A run that was started."""

    def poll(self) -> int | None:
        """The exit code; None while it runs."""

    def send(self, number: int) -> None:
        """Ask it to stop with SIGTERM, or end it with SIGKILL."""

    def close(self) -> None:
        """Let go of what was held for it, after its end."""


class Executor(Protocol):
    """What starts runs.

    Attributes:
        count: runs at a time.
        each: what each run gets, in words.
    """

    count: int
    each: str

    def find(self, job: Job) -> Handle | None:
        """A run of this job that an earlier start left running; None where there is none."""

    def start(self, job: Job, words: Sequence[str], log: IO[bytes], slot: int) -> Handle:
        """Start a run.

        Args:
            job: to run.
            words: of its command.
            log: opened for appending and locked; the executor keeps or closes it.
            slot: number of its place among those that run at the same time.
        """


@dataclass
class Process:
    """A process of this machine, in a session of its own: Ctrl-C reaches only the runner, which asks it to stop."""

    process: subprocess.Popen
    log: IO[bytes]

    def poll(self) -> int | None:
        return self.process.poll()

    def send(self, number: int) -> None:
        if self.process.poll() is None:
            os.killpg(self.process.pid, number)

    def close(self) -> None:
        self.log.close()


class Processes:
    """Runs as processes of this machine.

    Args:
        environments: of each of the runs that run at the same time.
    """

    def __init__(self, environments: list[dict[str, str]]):
        self.environments, self.count = environments, len(environments)
        words = " ".join(f"{name}={value}" for name, value in environments[0].items())
        self.each = words or "the environment of its launcher"

    def find(self, job: Job) -> None:
        """None: whatever still runs holds its log, and is left alone."""

    def start(self, job: Job, words: Sequence[str], log: IO[bytes], slot: int) -> Process:
        process = subprocess.Popen(
            words,
            env={**os.environ, **self.environments[slot], "PYTHONUNBUFFERED": "1"},
            stdin=subprocess.DEVNULL,
            stdout=log,
            stderr=subprocess.STDOUT,
            start_new_session=True,
        )
        return Process(process, log)


def make_executor(name: str, parameters: dict[str, Any], jobs: int | None, launcher: str, missing: int) -> Executor:
    """The executor that options ask for.

    Args:
        name: "local", "slurm" or "submitit".
        parameters: of the jobs of a cluster, as submitit takes them.
        jobs: runs at a time; None for as many as there is room for.
        launcher: command that starts each run; "" for this Python.
        missing: runs to do.

    Raises:
        UserError: parameters without a cluster, a launcher with one, or no cluster.
    """
    if name == HERE:
        if parameters:
            raise UserError("--slurm has no effect without --executor slurm")
        return Processes(slots(jobs, bool(launcher))[:missing])
    if launcher:
        raise UserError(
            f"--launcher and --executor {name} exclude each other: several GPUs of a run are tasks of its job, "
            "--slurm tasks_per_node=2 gpus_per_node=2"
        )
    from sosr_timm.runner.submitted import Submitted

    return Submitted(name, parameters, min(jobs or missing, missing))
