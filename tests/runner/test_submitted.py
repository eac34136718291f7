"""Runs as jobs of a cluster, by submitit's own executor: records, failures, stops, several processes a run."""

import os
import signal
import sys
import threading
import time

import pytest

from experiments import run_table, table_file
from sosr_timm.errors import UserError
from sosr_timm.runner.executors import make_executor
from sosr_timm.runner.jobs import Places, plan_jobs
from sosr_timm.runner.pool import Pool
from sosr_timm.runner.record import load_records
from tests.experiments.tables import run_here, write_table

pytest.importorskip("submitit")
SUBMITTED = ("--executor", "submitit", "--slurm", "timeout_min=10")


@pytest.fixture
def places(tmp_path, monkeypatch):
    """A folder of tables in place of the project's, and where its runs go."""
    monkeypatch.setenv("ACCELERATE_USE_CPU", "true")
    folder = tmp_path / "tables"
    folder.mkdir()
    write_table(folder)
    read = table_file.read_table
    monkeypatch.setattr(run_table, "read_table", lambda name: read(name, folder))
    return Places(tmp_path / "output", tmp_path / "results")


@pytest.fixture
def jobs(places):
    table = run_table.read_table("tiny")
    return plan_jobs(table, table.rows, 1, {"epochs": 1}, places)


def where(places):
    return ("--output", places.output, "--results", places.results)


def pool_of(words, said, count=1, **parameters):
    executor = make_executor("submitit", {"timeout_min": 10, **parameters}, count, "", count)
    return Pool(executor, lambda job: [sys.executable, "-c", words], said.append)


@pytest.mark.slow
def test_a_submitted_run_gives_the_record_of_a_local_one(places, capsys):
    words = ("tiny", "--only", "sosr", "--seeds", "1", "--epochs", "1", *where(places))
    assert run_here(*words, *SUBMITTED) == 0
    (submitted,) = load_records(places.results / "tiny")
    job = plan_jobs(run_table.read_table("tiny"), run_table.read_table("tiny").rows[1:], 1, {"epochs": 1}, places)[0]
    assert job.state == "done" and not job.submitted.is_file()
    assert "resumes from" not in job.log.read_text()
    assert "a job of submitit with timeout_min=10" in capsys.readouterr().out
    assert run_here(*words, *SUBMITTED) == 0
    assert "nothing to do" in capsys.readouterr().out
    local = Places(places.output.with_name("here"), places.results.with_name("of here"))
    assert run_here(*words[:-4], *where(local)) == 0
    (record,) = load_records(local.results / "tiny")
    assert (submitted.key, submitted.curve, submitted.run.last) == (record.key, record.curve, record.run.last)


def test_a_failure_is_told_with_the_end_of_its_log(jobs):
    said = []
    outcome = pool_of("import sys; print('the disk is on fire'); sys.exit(3)", said).run(jobs[:1])
    assert outcome.failed == jobs[:1]
    assert any("exit code 3" in line for line in said) and "    the disk is on fire" in said
    assert jobs[0].state == "failed" and not jobs[0].submitted.is_file()


def test_a_stop_reaches_the_run(jobs):
    stubborn = (
        "import signal, sys, time; signal.signal(signal.SIGTERM, lambda *rest: (print('saved'), sys.exit(0))); "
        "print('ready', flush=True); time.sleep(300)"
    )
    said, job = [], jobs[0]

    def stop():
        until = time.monotonic() + 100
        while time.monotonic() < until and not (job.log.is_file() and "\nready\n" in job.log.read_text()):
            time.sleep(0.05)
        assert job.state == "running"
        os.kill(os.getpid(), signal.SIGTERM)

    thread = threading.Thread(target=stop)
    thread.start()
    outcome = pool_of(stubborn, said).run(jobs[:1])
    thread.join()
    assert (outcome.stopped, outcome.signal) == (jobs[:1], signal.SIGTERM)
    assert "saved" in job.log.read_text()
    assert not job.stop.is_file() and not job.submitted.is_file() and job.state == "missing"


def test_the_tasks_of_a_job_are_the_processes_of_the_run(jobs):
    words = (
        "import torch.distributed as dist; dist.init_process_group('gloo'); "
        "import os; os.write(1, f'rank {dist.get_rank()} of {dist.get_world_size()}\\n'.encode()); dist.barrier(); "
        "dist.destroy_process_group()"
    )
    outcome = pool_of(words, [], tasks_per_node=2).run(jobs[:1])
    assert outcome.stopped == jobs[:1], "it ended well, without a result"
    lines = jobs[0].log.read_text().splitlines()
    assert {line for line in lines if line.startswith("rank")} == {"rank 0 of 2", "rank 1 of 2"}


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (("local", {"timeout_min": 3}, None, "", 1), "--slurm has no effect"),
        (("slurm", {}, None, "torchrun", 1), "exclude each other"),
        (("submitit", {"nodes": 2}, None, "", 1), "one node"),
        (("submitit", {"no_such_thing": 2}, None, "", 1), "no_such_thing"),
    ],
)
def test_what_does_not_fit_is_refused_in_one_line(arguments, message):
    with pytest.raises(UserError, match=message):
        make_executor(*arguments)


def test_no_slurm_is_refused(monkeypatch, tmp_path):
    monkeypatch.setenv("PATH", str(tmp_path))
    with pytest.raises(UserError, match="--executor slurm: "):
        make_executor("slurm", {}, None, "", 1)
