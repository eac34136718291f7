"""Runs as jobs of a real Slurm: finished, failed, stopped, cancelled, found again, with several tasks."""

import dataclasses
import os
import signal
import sys
import threading
import time
from pathlib import Path

import pytest

from sosr_timm.runner import submitted
from sosr_timm.runner.executors import make_executor
from sosr_timm.runner.jobs import Places, plan_jobs
from sosr_timm.runner.pool import Pool
from tests.experiments.tables import write_table

pytest.importorskip("submitit")
STUBBORN = (
    "import signal, sys, time; signal.signal(signal.SIGTERM, lambda *rest: (print('saved'), sys.exit(0))); "
    "print('ready', flush=True); time.sleep(300)"
)


@pytest.fixture
def jobs(slurm_cluster, tmp_path, monkeypatch):
    """Runs of a table; Slurm's programs find the cluster of the tests."""
    from experiments.table_file import read_table

    for name in ("SLURM_CONF", "PATH"):
        monkeypatch.setenv(name, slurm_cluster.environment[name])
    monkeypatch.setenv("PYTHONPATH", str(Path(__file__).resolve().parents[2]))
    monkeypatch.setattr(submitted, "ASK_QUEUE", 0.5)
    monkeypatch.setattr(submitted, "GRACE", 2.0)
    write_table(tmp_path)
    table = read_table("tiny", tmp_path)
    # What a run leaves is a file here, so that no training is needed.
    planned = plan_jobs(table, table.rows, 1, {}, Places(tmp_path / "output", tmp_path / "results"))
    return [dataclasses.replace(job, product="product.txt") for job in planned]


def pool_of(words, said, count=2, **parameters):
    executor = make_executor("slurm", {"timeout_min": 5, "cpus_per_task": 1, **parameters}, None, "", count)
    return Pool(executor, lambda job: [sys.executable, "-c", words], said.append)


def when(condition, action):
    """Do something in a thread, once something holds."""

    def wait():
        until = time.monotonic() + 200
        while time.monotonic() < until and not condition():
            time.sleep(0.1)
        action()

    thread = threading.Thread(target=wait)
    thread.start()
    return thread


def is_ready(job):
    return job.log.is_file() and "\nready\n" in job.log.read_text()


def number_of(job):
    return int(submitted.json.loads(job.submitted.read_text())["job"])


def test_a_run_is_a_job_that_fails_with_its_own_exit_code(jobs):
    said = []
    words = "import os, sys; print('job', os.environ['SLURM_JOB_ID']); sys.exit(3)"
    outcome = pool_of(words, said).run(jobs)
    assert outcome.failed == jobs or set(map(id, outcome.failed)) == set(map(id, jobs))
    assert sum("exit code 3" in line for line in said) == 2
    numbers = {line for job in jobs for line in job.log.read_text().splitlines() if line.startswith("job ")}
    assert len(numbers) == 2, "one job a run"
    assert {job.state for job in jobs} == {"failed"} and not any(job.submitted.is_file() for job in jobs)


def test_a_stop_reaches_the_runs_and_takes_waiting_ones_from_the_queue(jobs, slurm_cluster):
    # A run takes all cores of both nodes, so that the other one waits.
    whole = {"cpus_per_task": 128, "nodes": 2, "tasks_per_node": 1}
    first, second = jobs
    said = []
    numbers = []

    def stop():
        numbers.extend(number_of(job) for job in jobs)
        os.kill(os.getpid(), signal.SIGTERM)

    thread = when(lambda: is_ready(first) and second.submitted.is_file(), stop)
    outcome = pool_of(STUBBORN, said, **whole).run(jobs)
    thread.join()
    assert outcome.signal == signal.SIGTERM and len(outcome.stopped) == 2
    assert "saved" in first.log.read_text() and "ready\n" not in second.log.read_text().partition("\n$ ")[2][200:]
    assert slurm_cluster.job(numbers[1])["JobState"] == "CANCELLED"
    assert slurm_cluster.job(numbers[0])["JobState"] in ("COMPLETED", "COMPLETING", "RUNNING")


def test_a_job_that_a_killed_runner_left_is_found_again(jobs, slurm_cluster):
    (job, _), said = jobs, []
    words = f"import time; print('ready', flush=True); time.sleep(12); open({str(job.folder.path) + '.ended'!r}, 'w')"
    pool = pool_of(words, said, count=1)
    killed = pool._launch(job, 0)
    assert killed is not None and job.state == "running"
    number = number_of(job)
    again = pool_of(words, said, count=1)
    outcome = again.run([job])
    assert any("is still running" in line for line in said)
    assert outcome.stopped == [job] and Path(str(job.folder.path) + ".ended").is_file()
    assert slurm_cluster.wait_for(number)["JobState"] == "COMPLETED"
    assert job.log.read_text().count("\n$ ") == 1, "it was submitted twice"


@pytest.mark.slow
def test_a_job_that_is_cancelled_counts_as_stopped(jobs, slurm_cluster):
    (job, _), said = jobs, []
    thread = when(lambda: is_ready(job), lambda: slurm_cluster.command("scancel", number_of(job)))
    outcome = pool_of(STUBBORN, said, count=1).run([job])
    thread.join()
    assert outcome.stopped == [job] and not outcome.signal
    assert "saved" in job.log.read_text()


# What Slurm does before a time limit, and what it does when it preempts a job.
@pytest.mark.slow
@pytest.mark.parametrize("command", [("scancel", "--signal=USR2"), ("scontrol", "requeue")], ids=" ".join)
def test_at_a_time_limit_and_a_preemption_a_run_saves_and_its_job_starts_again(command, jobs, slurm_cluster):
    (job, _), said = jobs, []
    words = (
        f"import pathlib; first = pathlib.Path({str(job.folder.path) + '.first'!r})\n"
        "if first.exists(): print('again', flush=True); raise SystemExit(0)\n"
        "first.touch()\n" + STUBBORN
    )
    numbers = []

    def announce():
        numbers.append(number_of(job))
        slurm_cluster.command(*command, numbers[0])

    thread = when(lambda: is_ready(job), announce)
    outcome = pool_of(words, said, count=1).run([job])
    thread.join()
    log = job.log.read_text()
    assert outcome.stopped == [job], "the second start ended well, without a result"
    assert 0 < log.index("\nsaved\n") < log.index("\nagain\n")
    found = slurm_cluster.wait_for(numbers[0])
    assert (found["JobState"], found["Restarts"]) == ("COMPLETED", "1")


def test_the_tasks_of_a_job_on_two_nodes_are_the_processes_of_the_run(jobs):
    words = (
        "import torch.distributed as dist; dist.init_process_group('gloo'); "
        "print('rank', dist.get_rank(), 'of', dist.get_world_size(), flush=True); dist.barrier(); "
        "dist.destroy_process_group()"
    )
    (job, _), said = jobs, []
    outcome = pool_of(words, said, count=1, nodes=2, tasks_per_node=1).run([job])
    assert outcome.stopped == [job], "it ended well, without a result"
    lines = job.log.read_text().splitlines()
    assert {line for line in lines if line.startswith("rank")} == {"rank 0 of 2", "rank 1 of 2"}
