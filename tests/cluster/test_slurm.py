"""The batch files of hparams/slurm, as they stand, run by Slurm itself: on CPUs by their environment variables."""

import os
import signal
import time
from dataclasses import dataclass, field
from pathlib import Path

import pytest

from sosr_timm.checkpoints.format import checkpoint_folders
from sosr_timm.checkpoints.run_folder import RunFolder
from tests.cluster.ranks import process_of_rank
from tests.cluster.slurm import SlurmCluster
from tests.training.harness import ROOT, SMALL, assert_same_run, only_run, progress_of
from tests.training.ranks import Job, run_ranks

FILES = ROOT / "hparams" / "slurm"
TRAIN = (*SMALL, "--loss", "ols+sosr", "--batch-size", "4")
ENDLESS = (*TRAIN, "--epochs", "3000")
# A job of two processes on the node, or one on each of two.
ON_CPUS = {"ACCELERATE_USE_CPU": "true", "OMP_NUM_THREADS": "1"}


@dataclass
class Submitted:
    """A job of one of the batch files."""

    cluster: SlurmCluster
    number: int
    log: Path

    def wait_for_line(self, text: str, after: int = 0, timeout: float = 240) -> int:
        """Return when the log holds the text behind a position; returns the position behind the text."""
        until = time.monotonic() + timeout
        while True:
            content = self.log.read_text() if self.log.exists() else ""
            found = content.find(text, after)
            if found >= 0:
                return found + len(text)
            state = self.cluster.job(self.number)["JobState"]
            assert time.monotonic() < until, f"{state}, no {text!r} in\n{content}\n{self.cluster.logs()}"
            time.sleep(0.2)

    def wait_until(self, name: str, value: str, timeout: float = 120) -> None:
        """Return when scontrol shows this value."""
        until = time.monotonic() + timeout
        while self.cluster.job(self.number)[name] != value:
            assert time.monotonic() < until, f"{self.cluster.job(self.number)}\n{self.cluster.logs()}"
            time.sleep(0.2)


def submit(
    cluster: SlurmCluster, file: str, folder: Path, *options: str, train: tuple, **environment: str
) -> Submitted:
    folder.mkdir(exist_ok=True)
    log = folder / "log"
    words = [f"--chdir={ROOT}", f"--output={log}", *options, FILES / file, *train, "--output", folder / "runs"]
    return Submitted(cluster, cluster.submit(*words, **ON_CPUS, **environment), log)


@pytest.mark.slow
def test_one_node_and_several_nodes_train_to_the_same_bits(slurm_cluster, tmp_path):
    one = submit(slurm_cluster, "one_node.sbatch", tmp_path / "one", "--gpus-per-node=2", train=TRAIN)
    assert slurm_cluster.wait_for(one.number, timeout=300)["ExitCode"] == "0:0", one.log.read_text()
    several = submit(
        slurm_cluster,
        "several_nodes.sbatch",
        tmp_path / "several",
        "--gpus-per-node=0",
        train=TRAIN,
        PROCESSES_PER_NODE="1",
    )
    assert slurm_cluster.wait_for(several.number, timeout=300)["ExitCode"] == "0:0", several.log.read_text()
    assert "2 processes" in several.log.read_text()
    assert_same_run(only_run(tmp_path / "one" / "runs"), only_run(tmp_path / "several" / "runs"))


@dataclass
class Interrupted:
    """What became of a job that met its time limit, then a job of higher priority, then scancel.

    Attributes:
        run: its folder.
        starts: the part of the log that each start wrote.
        ends: what scontrol said at each end: Restarts and JobState.
    """

    run: RunFolder
    starts: list[str] = field(default_factory=list)
    ends: list[tuple[str, str]] = field(default_factory=list)


@pytest.fixture(scope="module")
def interrupted(slurm_cluster, tmp_path_factory) -> Interrupted:
    folder = tmp_path_factory.mktemp("interrupted")
    options = ["--gpus-per-node=2", "--ntasks-per-node=2", "--time=2", "--signal=USR1@45"]
    job = submit(slurm_cluster, "preempt_and_requeue.sbatch", folder, *options, train=ENDLESS)
    found, positions = Interrupted(RunFolder(folder / "runs" / str(job.number))), [0]

    def end_of_start() -> None:
        state = slurm_cluster.job(job.number)
        found.ends.append((state["Restarts"], state["JobState"]))
        found.starts.append(job.log.read_text()[positions[-1] :])
        positions.append(len(job.log.read_text()))

    job.wait_for_line("stopped early by signal")
    job.wait_until("Restarts", "1")
    end_of_start()

    job.wait_for_line("  update ", positions[-1])
    other = slurm_cluster.submit("--partition=high", "--nodes=2", "--exclusive", "--output=/dev/null", "--wrap", "true")
    job.wait_until("Restarts", "2")
    slurm_cluster.wait_for(other)
    end_of_start()

    job.wait_for_line("  update ", positions[-1])
    slurm_cluster.command("scancel", job.number)
    slurm_cluster.wait_for(job.number)
    end_of_start()
    return found


@pytest.mark.slow
def test_before_the_time_limit_a_run_is_saved_and_put_back_into_the_queue(interrupted):
    assert f"stopped early by signal {signal.SIGUSR1:d}" in interrupted.starts[0]
    assert "saved; back into the queue" in interrupted.starts[0]
    assert interrupted.ends[0][0] == "1"


@pytest.mark.slow
def test_a_preempted_job_saves_and_is_requeued_by_slurm(interrupted):
    assert "resumes from" in interrupted.starts[1]
    assert f"stopped early by signal {signal.SIGTERM:d}" in interrupted.starts[1]
    assert interrupted.ends[1][0] == "2"


@pytest.mark.slow
def test_scancel_saves_and_ends_the_job(interrupted):
    assert "resumes from" in interrupted.starts[2]
    assert f"stopped early by signal {signal.SIGTERM:d}" in interrupted.starts[2]
    assert interrupted.ends[2] == ("2", "CANCELLED")


@pytest.mark.slow
def test_an_interrupted_job_has_the_bits_of_an_uninterrupted_run(interrupted, tmp_path):
    epochs = str(progress_of(checkpoint_folders(interrupted.run.checkpoints)[0])["progress"]["epoch"] + 1)
    straight = [*ENDLESS, "--exit-code-on-signal", "85", "--output", tmp_path, "--stop-epoch", epochs]
    for ended in run_ranks([Job(["--resume", interrupted.run.path, "--stop-epoch", epochs]), Job(straight)]):
        assert ended.codes == [0, 0], ended.errors
    assert_same_run(only_run(tmp_path), interrupted.run)


@pytest.mark.slow
@pytest.mark.parametrize(
    ("file", "options"),
    [
        ("several_nodes.sbatch", ["--gpus-per-node=1"]),
        ("preempt_and_requeue.sbatch", ["--gpus-per-node=1", "--nodes=2", "--ntasks-per-node=1"]),
    ],
)
def test_a_failed_process_ends_the_job_within_a_minute_and_is_named(file, options, slurm_cluster, tmp_path):
    job = submit(slurm_cluster, file, tmp_path, *options, train=ENDLESS)
    job.wait_for_line("epoch 1  update 4")
    began = time.monotonic()
    os.kill(process_of_rank(1, tmp_path / "runs").pid, signal.SIGKILL)
    ended = slurm_cluster.wait_for(job.number, timeout=120)
    assert time.monotonic() - began < 60
    assert ended["JobState"] == "FAILED" and ended["Restarts"] == "0"
    assert "train.py: error (process 0): process 1 on" in job.log.read_text()


@pytest.mark.slow
@pytest.mark.parametrize(("file", "code"), [("preempt_and_requeue.sbatch", 2), ("one_node.sbatch", 1)])
def test_an_error_of_the_user_ends_the_job_with_its_exit_code(file, code, slurm_cluster, tmp_path):
    options = ["--gpus-per-node=2", *(["--ntasks-per-node=2"] if code == 2 else [])]
    job = submit(slurm_cluster, file, tmp_path, *options, train=("--dataset", "digits", "--loss", "sosrr"))
    ended = slurm_cluster.wait_for(job.number, timeout=240)
    assert (ended["JobState"], ended["ExitCode"], ended["Restarts"]) == ("FAILED", f"{code}:0", "0")
    assert "unknown loss 'sosrr'" in job.log.read_text()


def test_without_gpus_a_batch_file_says_what_to_set(slurm_cluster, tmp_path):
    job = submit(slurm_cluster, "one_node.sbatch", tmp_path, "--gpus-per-node=0", train=TRAIN)
    assert slurm_cluster.wait_for(job.number)["ExitCode"] == "1:0"
    assert "no GPUs: set PROCESSES_PER_NODE and ACCELERATE_USE_CPU=true" in job.log.read_text()
