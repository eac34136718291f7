"""torchrun on two machines, which are network namespaces, and torchrun that restarts what was killed."""

import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest

from sosr_timm.checkpoints.format import checkpoint_folders
from sosr_timm.checkpoints.run_folder import RunFolder
from tests.cluster.namespaces import ADDRESSES, INTERFACE, NAMES, Machine, two_machines  # noqa: F401  a fixture
from tests.cluster.ranks import process_of_rank
from tests.training.harness import ROOT, SMALL, assert_same_run, only_run, progress_of
from tests.training.ranks import Job, run_ranks

pytestmark = pytest.mark.slow
TRAIN = (*SMALL, "--loss", "ols+sosr", "--batch-size", "4", "--epochs", "12")
ENDLESS = (*TRAIN, "--epochs", "3000", "--process-timeout", "15")
TORCHRUN = [sys.executable, "-m", "torch.distributed.run"]
ENVIRONMENT = {**os.environ, "ACCELERATE_USE_CPU": "true", "OMP_NUM_THREADS": "1"}


@pytest.fixture(scope="module")
def uninterrupted(tmp_path_factory) -> RunFolder:
    output = tmp_path_factory.mktemp("torchrun")
    (ended,) = run_ranks([Job([*TRAIN, "--output", output])])
    assert ended.codes == [0, 0], ended.errors
    return only_run(output)


C10D = ["--rdzv_backend", "c10d", "--rdzv_id", "test", "--rdzv_endpoint", f"{ADDRESSES[0]}:29500"]
STATIC = ["--rdzv_backend", "static", "--master_addr", ADDRESSES[0], "--master_port", "29500"]


class OnTwoMachines:
    """A run with a process on each of two machines.

    Args:
        machines: joined by a cable.
        logs: folder for what the two print.
        arguments: of train.py.
        rendezvous: options of torchrun that say how the machines find each other.
    """

    def __init__(self, machines: list[Machine], logs: Path, *arguments: object, rendezvous: list[str] = C10D):
        self.logs = [logs / f"{name}.log" for name in NAMES]
        self.started = []
        for rank, (machine, log) in enumerate(zip(machines, self.logs, strict=True)):
            command = [*TORCHRUN, "--nnodes", "2", "--nproc_per_node", "1", "--node_rank", str(rank), *rendezvous]
            with log.open("w") as stream:
                self.started.append(
                    subprocess.Popen(
                        machine.command(*command, "train.py", *map(str, arguments)),
                        cwd=ROOT,
                        env={**ENVIRONMENT, "GLOO_SOCKET_IFNAME": INTERFACE},
                        stdout=stream,
                        stderr=stream,
                    )
                )

    def __enter__(self) -> "OnTwoMachines":
        return self

    def __exit__(self, *exception: object) -> None:
        for process in self.started:
            process.kill()
            process.wait()

    def wait_for_text(self, node: int, text: str, timeout: float = 240) -> None:
        """Return when this node has printed the text."""
        until = time.monotonic() + timeout
        while text not in self.logs[node].read_text():
            assert time.monotonic() < until, [log.read_text() for log in self.logs]
            time.sleep(0.1)

    def codes(self, timeout: float = 240) -> list[int]:
        """The exit codes of both launchers."""
        return [process.wait(timeout) for process in self.started]


def test_two_machines_train_to_the_bits_of_two_processes_on_one(two_machines, uninterrupted, tmp_path):  # noqa: F811
    with OnTwoMachines(two_machines, tmp_path, *TRAIN, "--output", tmp_path / "runs") as run:
        assert run.codes() == [0, 0], [log.read_text() for log in run.logs]
    assert_same_run(uninterrupted, only_run(tmp_path / "runs"))


def pull_cable(machines: list[Machine], run: OnTwoMachines) -> None:
    """Pull the cable in the middle of an epoch; return when each machine has named the other."""
    run.wait_for_text(0, "epoch 1  update 4")
    machines[0].cable("down")
    began = time.monotonic()
    run.wait_for_text(0, "error (process 0): process 1 on node2 (10.77.0.2) ended or cannot be reached", 60)
    run.wait_for_text(1, "error (process 1): process 0 on node1 (10.77.0.1) ended or cannot be reached", 60)
    assert time.monotonic() - began < 15 + 30, "the timeout, and what asking the other takes on a busy machine"


def test_when_the_cable_is_pulled_both_machines_name_the_other_and_the_run_resumes(two_machines, tmp_path):  # noqa: F811
    (tmp_path / "resumed").mkdir()
    with OnTwoMachines(two_machines, tmp_path, *ENDLESS, "--output", tmp_path / "runs") as run:
        try:
            pull_cable(two_machines, run)
            assert run.started[0].wait(60) == 1
        finally:
            two_machines[0].cable("up")
        # Until then the second torchrun waits for an answer of the first machine, which its rendezvous is on.
        assert run.started[1].wait(120) == 1
    stopped = only_run(tmp_path / "runs")
    epochs = str(progress_of(checkpoint_folders(stopped.checkpoints)[0])["progress"]["epoch"] + 1)
    arguments = ["--resume", stopped.path, "--stop-epoch", epochs]
    with OnTwoMachines(two_machines, tmp_path / "resumed", *arguments) as run:
        assert run.codes() == [0, 0], [log.read_text() for log in run.logs]
    (ended,) = run_ranks([Job([*ENDLESS, "--output", tmp_path / "straight", "--stop-epoch", epochs])])
    assert ended.codes == [0, 0], ended.errors
    assert_same_run(only_run(tmp_path / "straight"), stopped)


def test_with_the_static_rendezvous_both_launchers_end_while_the_cable_is_out(two_machines, tmp_path):  # noqa: F811
    with OnTwoMachines(two_machines, tmp_path, *ENDLESS, "--output", tmp_path / "runs", rendezvous=STATIC) as run:
        try:
            pull_cable(two_machines, run)
            assert run.codes(60) == [1, 1]
        finally:
            two_machines[0].cable("up")


def test_restarted_workers_continue_by_themselves_to_the_same_bits(uninterrupted, tmp_path):
    output = tmp_path / "runs"
    command = [*TORCHRUN, "--standalone", "--nproc_per_node", "2", "--max-restarts", "2", "train.py", *TRAIN]
    command += ["--resume", "auto", "--output", str(output)]
    with subprocess.Popen(
        command, cwd=ROOT, env=ENVIRONMENT, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True
    ) as started:
        for line in started.stdout:
            if line.startswith("epoch 2  update 4"):
                os.kill(process_of_rank(1, output).pid, signal.SIGKILL)
                break
        printed, errors = started.communicate(timeout=240)
    assert started.returncode == 0, errors
    assert "error (process 0): process 1 on" in errors
    assert "resumes from" in printed
    assert_same_run(uninterrupted, only_run(output))
