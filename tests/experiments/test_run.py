"""Runs of a table as real processes: stopped and gone on with, finished ones left alone, failures told and survived."""

import json
import os
import signal
import threading
import time

import pytest

from experiments import run_table, table_file
from experiments.table_file import read_table
from sosr_timm.checkpoints.format import checkpoint_folders
from sosr_timm.runner.jobs import Places, plan_jobs
from sosr_timm.runner.record import load_records
from sosr_timm.runner.settings import key_of, settings
from tests.experiments.tables import TINY, run_here, write_table


@pytest.fixture
def places(tmp_path, monkeypatch):
    """A folder of tables in place of the project's, and where its runs go."""
    monkeypatch.setenv("ACCELERATE_USE_CPU", "true")
    folder = tmp_path / "tables"
    folder.mkdir()
    write_table(folder)
    monkeypatch.setattr(run_table, "read_table", lambda name: read_table(name, folder))
    monkeypatch.setattr(table_file, "TABLES", folder)
    return Places(tmp_path / "output", tmp_path / "results")


def where(places):
    return ("--output", places.output, "--results", places.results)


def signal_at_first_checkpoint(job):
    def wait():
        until = time.monotonic() + 300
        while time.monotonic() < until and not checkpoint_folders(job.folder.checkpoints):
            time.sleep(0.02)
        os.kill(os.getpid(), signal.SIGTERM)

    thread = threading.Thread(target=wait)
    thread.start()
    return thread


def test_a_stopped_table_goes_on_and_a_finished_one_is_left_alone(places, capsys):
    words = ("tiny", "--only", "sosr", "--seeds", "1", "--epochs", "8", "--jobs", "2", *where(places))
    table = read_table("tiny", table_file.TABLES)
    (job,) = plan_jobs(table, [table.rows[1]], 1, {"epochs": 8}, places)
    thread = signal_at_first_checkpoint(job)
    assert run_here(*words) == 128 + signal.SIGTERM
    thread.join()
    assert job.state == "stopped"
    assert 0 < job.share_done() < 1

    assert run_here(*words) == 0
    said = capsys.readouterr().out
    assert "resumes from epoch" in job.log.read_text()
    (record,) = load_records(places.results / "tiny")
    assert f"done {job.name}: best top-1 {record.run.best['top1']:.2f} %" in said
    assert (record.row, record.conditions, record.run.seed) == (table.rows[1].key, {"epochs": 8}, 0)
    assert record.key == key_of(settings(table, table.rows[1], {"epochs": 8}))
    assert len(record.curve) == 8
    assert record.curve[-1] == record.run.last["top1"]

    assert run_here(*words) == 0
    assert "1 run, already finished: nothing to do" in capsys.readouterr().out
    assert job.log.read_text().count("\n$ ") == 2, "a finished run was started again"

    # A record that was lost is made again from the run's folder, without training.
    job.record.unlink()
    assert run_here(*words) == 0
    assert job.log.read_text().count("\n$ ") == 2
    assert load_records(places.results / "tiny") == [record]


@pytest.mark.slow
def test_two_rows_with_two_seeds_each(places):
    assert run_here("tiny", *where(places), "--jobs", "2") == 0
    records = load_records(places.results / "tiny")
    assert sorted((record.row["method"], record.run.seed) for record in records) == [
        *(("ce", 0), ("ce", 1), ("sosr", 0), ("sosr", 1))
    ]
    assert all(record.conditions == {} for record in records)


def test_a_failure_is_told_with_the_end_of_its_log_and_the_others_go_on(places, capsys):
    words = ("tiny", "--jobs", "2", *where(places))
    assert run_here(*words, "--launcher", "sh -c 'echo first; echo the disk is on fire >&2; exit 3'") == 1
    said = capsys.readouterr().out
    assert said.count("FAILED ") == 4
    assert "exit code 3" in said
    assert "    the disk is on fire" in said
    assert "tiny: 0 done, 4 failed, 0 stopped" in said
    table = read_table("tiny", table_file.TABLES)
    assert {job.state for job in plan_jobs(table, table.rows, None, {}, places)} == {"failed"}


def test_a_run_that_ends_well_without_a_result_counts_as_stopped(places, capsys):
    assert run_here("tiny", *where(places), "--launcher", "true") == 1
    assert "tiny: 0 done, 0 failed, 4 stopped" in capsys.readouterr().out


def test_a_run_that_another_process_holds_is_left_alone(places, capsys):
    import fcntl

    table = read_table("tiny", table_file.TABLES)
    job = plan_jobs(table, table.rows, None, {}, places)[0]
    job.log.parent.mkdir(parents=True)
    with open(job.log, "a") as file:
        fcntl.flock(file, fcntl.LOCK_EX)
        assert job.state == "running"
        run_here("tiny", *where(places), "--launcher", "true")
    assert f"{job.name}: another process runs it" in capsys.readouterr().out


def test_a_dry_run_says_what_would_be_run_and_runs_nothing(places, capsys):
    assert run_here("tiny", *where(places), "--dry-run", "--epochs", "5", "--samples", "32") == 0
    *commands, total = capsys.readouterr().out.splitlines()
    assert len(commands) == 4
    assert "train.py --config hparams/digits.yaml --epochs 5 --train-num-samples 32" in commands[0]
    assert total == "4 runs to do, 0 done; 20 epochs, 640 training images"
    assert not places.output.exists()


def test_data_that_is_missing_is_said_before_anything_starts(places, tmp_path):
    from sosr_timm.errors import UserError

    with pytest.raises(UserError, match=r"fashion_mnist: .* is not in"):
        run_here("tiny", *where(places), "--data", "fashion_mnist", "--data-dir", tmp_path)
    assert not places.output.exists()


def test_a_row_that_waits_for_weights_is_left_out(places, capsys):
    first = "{table: tiny, model: cifar_resnet20, method: ce}"
    write_table(table_file.TABLES, TINY.replace("loss: sosr}", f"loss: sosr, start: {first}}}"))
    from experiments import starting

    original = starting.starting_job.__defaults__
    starting.starting_job.__defaults__ = (table_file.TABLES,)
    try:
        assert run_here("tiny", "--only", "sosr", *where(places)) == 1
    finally:
        starting.starting_job.__defaults__ = original
    assert "it starts from the weights of cifar_resnet20_ce" in capsys.readouterr().out


def test_a_record_is_json_that_says_what_it_is(places, tmp_path):
    path = tmp_path / "x.json"
    path.write_text(json.dumps({"format": 1, "table": "tiny"}))
    with pytest.raises(ValueError, match="not the record of a table's run"):
        load_records(tmp_path)


def test_a_second_signal_kills_the_runs(places):
    table = read_table("tiny", table_file.TABLES)
    job = plan_jobs(table, table.rows, 1, {}, places)[0]
    over = threading.Event()

    def twice():
        until = time.monotonic() + 60
        # A line of its own: the log also holds the command, which speaks of it.
        while time.monotonic() < until and not (job.log.is_file() and "\nready\n" in job.log.read_text()):
            time.sleep(0.02)
        os.kill(os.getpid(), signal.SIGINT)
        if not over.wait(1.0):
            os.kill(os.getpid(), signal.SIGINT)

    thread = threading.Thread(target=twice)
    thread.start()
    started = time.monotonic()
    stubborn = """sh -c 'trap "" TERM; echo ready; sleep 300'"""
    words = ("tiny", "--only", "ce", "--seeds", "1", "--jobs", "1", *where(places), "--launcher", stubborn)
    code = run_here(*words)
    over.set()
    thread.join()
    assert code == 128 + signal.SIGINT
    assert 1.0 < time.monotonic() - started < 60
    assert job.state == "missing"
    assert "running" not in {one.state for one in plan_jobs(table, table.rows, None, {}, places)}
