"""Runs of two processes that are stopped or killed at an exact update: forked from one that has the libraries loaded.

    python -m tests.training.ranks JOBS.json

JOBS.json is a list of `{"arguments": [...], "signal": ..., "update": ..., "rank": ...}`. The process of that rank sends
itself the signal when it has made that many updates since its start. For each job a line on standard output holds
the exit codes of the processes and what each of them wrote on standard error.
"""

from __future__ import annotations

import json
import os
import socket
import subprocess
import sys
import tempfile
import traceback
from dataclasses import asdict, dataclass, field
from pathlib import Path

import torch

from sosr_timm.data.sources.embedded import digits
from sosr_timm.distributed.processes import end_processes, run_main
from sosr_timm.distributed.stop_signals import StopSignals
from sosr_timm.options.load import load
from sosr_timm.options.train import TrainOptions
from sosr_timm.training.main import run_training

ROOT = Path(__file__).resolve().parents[2]
COUNT = 2


@dataclass
class Job:
    """A run of two processes.

    Attributes:
        arguments: of train.py.
        signal: that one of the processes gets, or 0.
        update: after which it gets it, counted from the start of this process.
        rank: which one.
    """

    arguments: list
    signal: int = 0
    update: int = 0
    rank: int = 0


@dataclass
class Ended:
    """How a run ended: for each process its exit code (minus the signal that killed it) and its standard error."""

    codes: list[int] = field(default_factory=list)
    errors: list[str] = field(default_factory=list)


def run_ranks(jobs: list[Job], timeout: float = 300) -> list[Ended]:
    """Run the jobs one after the other, all in one process that imports the package once."""
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder, "jobs.json")
        path.write_text(json.dumps([{**asdict(job), "arguments": [str(a) for a in job.arguments]} for job in jobs]))
        environment = {**os.environ, "ACCELERATE_USE_CPU": "true", "OMP_NUM_THREADS": "1"}
        command = [sys.executable, "-m", "tests.training.ranks", str(path)]
        ended = subprocess.run(
            command, cwd=ROOT, env=environment, stdout=subprocess.PIPE, text=True, timeout=timeout, check=True
        )
    return [Ended(**json.loads(line)) for line in ended.stdout.splitlines()]


def main() -> None:
    digits("train", None, False)  # imports scikit-learn, which takes seconds
    torch.set_num_threads(1)
    for content in json.loads(Path(sys.argv[1]).read_text()):
        print(json.dumps(asdict(run(Job(**content)))), flush=True)


def run(job: Job) -> Ended:
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    with tempfile.TemporaryDirectory() as folder:
        logs = [Path(folder, str(rank)) for rank in range(COUNT)]
        started = [start(job, rank, port, logs[rank]) for rank in range(COUNT)]
        codes = [os.waitstatus_to_exitcode(os.waitpid(process, 0)[1]) for process in started]
        return Ended(codes, [log.read_text() for log in logs])


def start(job: Job, rank: int, port: int, log: Path) -> int:
    """Fork a process that trains; returns its number."""
    child = os.fork()
    if child:
        return child
    code = 99
    try:
        os.dup2(os.open(os.devnull, os.O_WRONLY), 1)
        os.dup2(os.open(log, os.O_WRONLY | os.O_CREAT), 2)
        os.environ |= {"RANK": str(rank), "LOCAL_RANK": str(rank), "WORLD_SIZE": str(COUNT)}
        os.environ |= {"LOCAL_WORLD_SIZE": str(COUNT), "MASTER_ADDR": "127.0.0.1", "MASTER_PORT": str(port)}
        code = train(job, rank)
    except BaseException:
        traceback.print_exc()
        code = 1
    finally:
        sys.stdout.flush()
        sys.stderr.flush()
        os._exit(code)


def train(job: Job, rank: int) -> int:
    after_update, done = StopSignals.after_update, [0]

    def counted(self: StopSignals) -> tuple[int, bool]:
        done[0] += 1
        if job.signal and rank == job.rank and done[0] == job.update:
            os.kill(os.getpid(), job.signal)
        return after_update(self)

    StopSignals.after_update = counted
    code = run_main(lambda: run_training(load(TrainOptions, job.arguments)))
    end_processes()
    return code


if __name__ == "__main__":
    main()
