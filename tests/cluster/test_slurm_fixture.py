"""The cluster of two nodes that the tests start: jobs reach both, and nothing of it stays behind."""

import time

from tests.cluster.slurm import new_cluster


def test_a_step_has_a_task_on_each_node(slurm_cluster):
    words = ["srun", "--nodes=2", "--ntasks=2", "bash", "-c", "echo $SLURM_NODEID $SLURM_PROCID $SLURM_JOB_NODELIST"]
    assert sorted(slurm_cluster.command(*words).splitlines()) == ["0 0 127.0.0.[1-2]", "1 1 127.0.0.[1-2]"]


def test_a_job_has_the_gpus_it_asks_for_and_its_own_exit_code(slurm_cluster, tmp_path):
    log = tmp_path / "log"
    job = slurm_cluster.submit(
        "--nodes=1",
        "--gpus-per-node=2",
        f"--output={log}",
        "--wrap",
        'echo "gpus $SLURM_GPUS_ON_NODE $MARK"; exit 7',
        MARK="here",
    )
    assert slurm_cluster.wait_for(job)["ExitCode"] == "7:0"
    assert log.read_text() == "gpus 2 here\n"


def test_nothing_stays_behind(slurm_cluster):
    with new_cluster() as other:
        job = other.submit("--output=/dev/null", "--wrap", "srun sleep 600")
        other.wait_for(job, "RUNNING")
        until = time.monotonic() + 60
        while not any("600" in process.cmdline() for process in other.processes()):
            assert time.monotonic() < until, other.logs()
    assert other.processes() == []
    assert not other.folder.exists()
    assert len(slurm_cluster.processes()) >= 3
