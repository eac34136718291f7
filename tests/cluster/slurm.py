"""Slurm itself as a cluster of two nodes on this machine, from Debian's package `slurm-wlm`."""

from __future__ import annotations

import contextlib
import os
import pwd
import random
import shutil
import socket
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import psutil
import pytest

PROGRAMS = ("setpriv", "slurmctld", "slurmd", "sbatch", "srun", "scontrol", "sinfo", "scancel", "squeue")
# Names of nodes must resolve, because jobs use the first of them as the address at which processes meet; these do.
NODES = ("127.0.0.1", "127.0.0.2")
GPUS = 8
# Nodes have as many cores and GPUs as the batch files of hparams/slurm ask for. They are only counted: no job is bound
# to cores, and no GPU is there. A credential lives five seconds, because a requeued job waits until its old one is
# invalid. Ports of jobs follow from their numbers, so these differ between clusters. Accounting is off: sacct does not
# work, scontrol knows finished jobs for an hour. Jobs of the partition `low` are preempted by those of `high`, and put
# back into the queue.
CONFIGURATION = """\
ClusterName=test
SlurmctldHost={host}(127.0.0.1)
SlurmctldPort={controller}
SlurmUser={user}
SlurmdUser={user}
AuthType=auth/none
AuthInfo=cred_expire=5
FirstJobId={first_job}
CredType=cred/none
CommunicationParameters=NoCtldInAddrAny,NoInAddrAny
MpiDefault=none
ProctrackType=proctrack/linuxproc
TaskPlugin=task/none
SelectType=select/cons_tres
SelectTypeParameters=CR_Core
GresTypes=gpu
AccountingStorageType=accounting_storage/none
JobAcctGatherType=jobacct_gather/none
SchedulerType=sched/backfill
SchedulerParameters=sched_interval=5,sched_min_interval=100000,batch_sched_delay=0
PreemptType=preempt/partition_prio
PreemptMode=REQUEUE
MinJobAge=3600
KillWait=30
ReturnToService=2
MailProg=/bin/true
SlurmdParameters=config_overrides
StateSaveLocation={folder}/state
SlurmdSpoolDir={spool}%n
SlurmctldPidFile={folder}/slurmctld.pid
SlurmdPidFile={folder}/slurmd-%n.pid
{nodes}
PartitionName=low Nodes=ALL PriorityTier=1 Default=YES MaxTime=INFINITE
PartitionName=high Nodes=ALL PriorityTier=2 MaxTime=INFINITE
"""
NODE = "NodeName={name} NodeHostname={host} NodeAddr=127.0.0.1 Port={port} CPUs=128 Gres=gpu:{gpus} State=UNKNOWN"
RUNNING = ("PENDING", "CONFIGURING", "RUNNING", "COMPLETING", "REQUEUED", "SUSPENDED")


@dataclass
class SlurmCluster:
    """A running cluster.

    Attributes:
        folder: of its configuration, state and logs.
        environment: with which Slurm's programs find this cluster; jobs find `python` and `accelerate` of this
            interpreter in it.
    """

    folder: Path
    environment: dict[str, str]

    def command(self, *words: object, **environment: str) -> str:
        """Run one of Slurm's programs; returns what it printed.

        Raises:
            AssertionError: it failed.
        """
        done = subprocess.run(
            [str(word) for word in words],
            env={**self.environment, **environment},
            capture_output=True,
            text=True,
            timeout=120,
            check=False,
        )
        assert done.returncode == 0, f"{words}: {done.stdout}{done.stderr}"
        return done.stdout

    def submit(self, *words: object, **environment: str) -> int:
        """Give a job to sbatch; returns its number.

        Args:
            words: options of sbatch, the batch file, its arguments.
            environment: for the job, beside `environment`.
        """
        return int(self.command("sbatch", "--parsable", *words, **environment))

    def job(self, number: int) -> dict[str, str]:
        """What scontrol knows of a job: JobState, ExitCode ("2:0": code and signal), Restarts, Reason, ..."""
        text = self.command("scontrol", "--oneliner", "show", "job", number)
        return dict(word.split("=", 1) for word in text.split() if "=" in word)

    def wait_for(self, number: int, *states: str, timeout: float = 120) -> dict[str, str]:
        """Return when the job is in one of these states, or, without any, has ended; returns what `job` does.

        Raises:
            AssertionError: that takes too long, or the job ended in another state.
        """
        until = time.monotonic() + timeout
        while True:
            found = self.job(number)
            state = found["JobState"]
            if state in states or (not states and state not in RUNNING):
                return found
            assert time.monotonic() < until, (
                f"job {number} is {state} ({found['Reason']}) after {timeout} s\n{self.logs()}"
            )
            assert state in RUNNING, f"job {number} is {state}, not {' or '.join(states)}\n{self.logs()}"
            time.sleep(0.2)

    def logs(self) -> str:
        """The last lines of each daemon's log."""
        ends = {path.name: path.read_text().splitlines()[-12:] for path in sorted(self.folder.glob("*.log"))}
        return "\n".join(line for name, lines in ends.items() for line in (f"--- {name}", *lines))

    def processes(self) -> list[psutil.Process]:
        """Every process that belongs to this cluster, jobs included."""
        # Each step has a process of its own that hides its environment; it listens on a socket in the cluster's folder.
        listening = {found.pid for found in psutil.net_connections("unix") if str(found.laddr).startswith(self.spool)}
        found = []
        for process in psutil.process_iter():
            with contextlib.suppress(psutil.Error):
                if process.pid == os.getpid() or process.status() == psutil.STATUS_ZOMBIE:
                    continue
                if process.pid in listening or process.environ().get("SLURM_CONF") == self.environment["SLURM_CONF"]:
                    found.append(process)
        return found

    @property
    def spool(self) -> str:
        """What the paths of the nodes' own files begin with."""
        return str(self.folder / "spool-")


def free_ports(count: int) -> list[int]:
    """Ports that nothing listens on."""
    with contextlib.ExitStack() as open_sockets:
        sockets = [open_sockets.enter_context(socket.socket()) for _ in range(count)]
        for free in sockets:
            free.bind(("127.0.0.1", 0))
        return [free.getsockname()[1] for free in sockets]


def configure(folder: Path) -> SlurmCluster:
    """Write the configuration of a cluster that is not started yet."""
    host = socket.gethostname().partition(".")[0]
    controller, *ports = free_ports(1 + len(NODES))
    nodes = [NODE.format(name=name, host=host, port=port, gpus=GPUS) for name, port in zip(NODES, ports, strict=True)]
    (folder / "state").mkdir()
    path = folder / "slurm.conf"
    # Inside a job these would make sbatch and srun join that job.
    inherited = {name: value for name, value in os.environ.items() if not name.startswith(("SLURM", "SBATCH"))}
    paths = [str(Path(sys.executable).parent), inherited.get("PATH", ""), "/usr/sbin"]
    cluster = SlurmCluster(folder, {**inherited, "PATH": ":".join(paths), "SLURM_CONF": str(path)})
    content = CONFIGURATION.format(
        host=host,
        first_job=random.randrange(1, 20_000),
        controller=controller,
        user=pwd.getpwuid(os.getuid()).pw_name,
        folder=folder,
        spool=cluster.spool,
        nodes="\n".join(nodes),
    )
    path.write_text(content)
    for number in range(GPUS):
        (folder / f"gpu{number}").touch()
    (folder / "gres.conf").write_text(f"AutoDetect=off\nName=gpu File={folder}/gpu[0-{GPUS - 1}]\n")
    return cluster


@contextlib.contextmanager
def new_cluster() -> Iterator[SlurmCluster]:
    """A cluster while its daemons run; at the end none of its processes and files is left.

    Raises:
        AssertionError: the nodes are not ready within a minute.
    """
    # Not in pytest's folders: the path of a socket has at most 107 characters.
    with tempfile.TemporaryDirectory(prefix="slurm-") as folder:
        cluster = configure(Path(folder))
        daemons = []
        try:
            for name, words in {"slurmctld": [], **{f"slurmd-{node}": ["-N", node] for node in NODES}}.items():
                with (cluster.folder / f"{name}.log").open("w") as log:
                    # The daemon also ends when the tests are killed.
                    command = ["setpriv", "--pdeathsig", "TERM", name.partition("-")[0], "-D", *words]
                    streams = {"stdin": subprocess.DEVNULL, "stdout": log, "stderr": log}
                    daemons.append(subprocess.Popen(command, env=cluster.environment, cwd="/", **streams))
            wait_until_ready(cluster)
            yield cluster
        finally:
            end(cluster, daemons)


def end(cluster: SlurmCluster, daemons: list[subprocess.Popen]) -> None:
    """End the daemons, then the jobs and helpers that they leave.

    Raises:
        AssertionError: something of it still runs after half a minute.
    """
    for process in reversed(daemons):
        process.terminate()
    own = [daemon.pid for daemon in daemons]
    until, quiet = time.monotonic() + 30, 0
    while quiet < 5:  # a node may be about to start a step
        left = cluster.processes()
        quiet = 0 if left else quiet + 1
        assert time.monotonic() < until, f"still running: {left}"
        for process in left:
            if process.pid not in own or time.monotonic() > until - 20:
                with contextlib.suppress(psutil.Error):
                    process.kill()
        time.sleep(0.1)
    for process in daemons:
        process.wait()


def wait_until_ready(cluster: SlurmCluster, timeout: float = 60) -> None:
    until = time.monotonic() + timeout
    while True:
        words = ["sinfo", "--noheader", "--Node", "--partition=low", "--format=%T"]
        done = subprocess.run(words, env=cluster.environment, capture_output=True, text=True, timeout=60, check=False)
        if done.stdout.split() == ["idle"] * len(NODES):
            return
        assert time.monotonic() < until, f"Slurm is not ready: {done.stdout}{done.stderr}\n{cluster.logs()}"
        time.sleep(0.2)


@pytest.fixture(scope="session")
def slurm_cluster() -> Iterator[SlurmCluster]:
    """Slurm's own daemons: a controller and two nodes on loopback, with ports of their own."""
    path = f"{os.environ.get('PATH', '')}:/usr/sbin"
    missing = [name for name in PROGRAMS if not shutil.which(name, path=path)]
    if missing:
        pytest.skip(f"{missing[0]} is not installed (Debian's packages slurm-wlm and util-linux)")
    with new_cluster() as cluster:
        yield cluster
