"""What a job of a cluster does: run a command, pass a request to stop on to it, and say how it ended."""

from __future__ import annotations

import fcntl
import os
import signal
import subprocess
import time
from contextlib import suppress
from dataclasses import dataclass, replace
from pathlib import Path
from types import FrameType
from typing import IO, Any

POLL = 0.2  # seconds
PATIENCE = 120.0  # seconds between Slurm's SIGTERM and its SIGKILL, generously


@dataclass
class Work:
    """A run on a node of the cluster; submitit stores it and calls it there, once for each task of the job.

    Attributes:
        words: of the command.
        log: that it appends to.
        product: file that exists once the run has nothing left to do.
        stop: file that asks for an end: the name of the signal.
        tasks: of the job; with several, each is one process of the run.
        process: while it runs.
        told: the signal that the cluster sent, or 0.
    """

    words: list[str]
    log: Path
    product: Path
    stop: Path
    tasks: int = 1
    process: subprocess.Popen | None = None
    told: int = 0

    def __call__(self) -> int:
        """Run the command; returns its exit code."""
        signal.signal(signal.SIGTERM, self._note)
        environment = {**os.environ, "PYTHONUNBUFFERED": "1"}
        if self.tasks > 1:
            environment |= processes_of_job()
        self.log.parent.mkdir(parents=True, exist_ok=True)
        with open(self.log, "ab") as log:
            hold(log)
            self.process = subprocess.Popen(
                self.words,
                env=environment,
                stdin=subprocess.DEVNULL,
                stdout=log,
                stderr=subprocess.STDOUT,
                preexec_fn=_leave_submitits_signal_to_submitit,
            )
            code = self._wait()
        if self.told and not self.product.is_file() and not self.stop.is_file():
            # Preempted or cancelled. A result would say that the job has ended, and it may return to the queue.
            time.sleep(PATIENCE)
        return code

    def _wait(self) -> int:
        sent = ""
        while (code := self.process.poll()) is None:
            with suppress(OSError):
                wanted = self.stop.read_text(encoding="utf-8").strip()
                if wanted and wanted != sent:
                    self.process.send_signal(getattr(signal, wanted))
                    sent = wanted
            time.sleep(POLL)
        return code

    def _note(self, number: int, frame: FrameType | None) -> None:
        """The cluster ends the job. It tells every process of it, the run's too; telling it again does no harm."""
        self.told = number
        if self.process is not None and self.process.poll() is None:
            self.process.send_signal(signal.SIGTERM)

    def checkpoint(self) -> Any:
        """Called by submitit before the time limit and before a preemption: stop the run, and put it into the queue."""
        from submitit.helpers import DelayedSubmission

        if self.process is not None and self.process.poll() is None:
            self.process.send_signal(signal.SIGTERM)
            self.process.wait()
        return DelayedSubmission(replace(self, process=None, told=0))


def _leave_submitits_signal_to_submitit() -> None:
    """Slurm sends it to all processes of a job, and it would end those that do not know it."""
    signal.signal(signal.SIGUSR2, signal.SIG_IGN)


def hold(log: IO[bytes]) -> None:
    """Lock the log, which says that the run is going on; without locks on this file system nothing says so."""
    with suppress(OSError):
        fcntl.flock(log, fcntl.LOCK_EX | fcntl.LOCK_NB)


def processes_of_job() -> dict[str, str]:
    """What torch.distributed needs to know: this task is a process of the run."""
    from submitit.helpers import TorchDistributedEnvironment

    known = TorchDistributedEnvironment()
    return {
        "MASTER_ADDR": known.master_addr,
        "MASTER_PORT": str(known.master_port),
        "RANK": str(known.rank),
        "WORLD_SIZE": str(known.world_size),
        "LOCAL_RANK": str(known.local_rank),
        "LOCAL_WORLD_SIZE": str(known.local_world_size),
    }
