"""Two real processes: the same evaluation and soft labels as one, exact resumption, a change of their number."""

import csv
import json
import os
import signal
import subprocess
import sys
import time

import psutil
import pytest
import torch

from sosr_timm.checkpoints.format import checkpoint_folders
from sosr_timm.checkpoints.run_folder import RunFolder
from sosr_timm.errors import UserError
from tests.training.harness import (
    ROOT,
    SMALL,
    assert_same_run,
    copy_until,
    only_run,
    progress_of,
    tensors_of,
    train_here,
    train_processes,
)
from tests.training.ranks import Job, run_ranks

OLS = (*SMALL, "--loss", "ols+sosr", "--grad-accum-steps", "2", "--checkpoint-every", "1", "--checkpoint-hist", "100")
# --standalone lets torchrun find a free port, which nobody else can take before it does.
TORCHRUN = [sys.executable, "-m", "torch.distributed.run", "--standalone", "--nproc_per_node", "2"]
ENVIRONMENT = {**os.environ, "ACCELERATE_USE_CPU": "true", "OMP_NUM_THREADS": "1"}


@pytest.fixture(scope="module")
def straight(tmp_path_factory) -> RunFolder:
    output = tmp_path_factory.mktemp("two") / "straight"
    recording = ("--record-confidence", "clean")
    ended = train_processes(*OLS, *recording, "--batch-size", "4", "--output", output, processes=2)
    assert ended.returncode == 0, ended.stderr
    return only_run(output)


def recorded(run: RunFolder) -> list[dict[str, str]]:
    with open(run.confidence, newline="") as file:
        return list(csv.DictReader(file))


def test_two_processes_record_each_sample_once(straight):
    rows = recorded(straight)
    assert [row["samples"] for row in rows] == ["56", "56"]
    assert all(0 < float(row["gradient_norm"]) < 2 for row in rows)
    assert all(int(row["clean_above_0.5"]) <= 56 for row in rows)


def evaluate(run: RunFolder, processes: int) -> dict:
    launcher = TORCHRUN if processes == 2 else [sys.executable]
    ended = subprocess.run(
        [*launcher, "validate.py", str(run.path), "--which", "last", "--workers", "1"],
        cwd=ROOT,
        env=ENVIRONMENT,
        capture_output=True,
        text=True,
        check=True,
    )
    return json.loads(ended.stdout.splitlines()[-1])["weights"]["weights"]


def test_evaluation_is_the_same_to_the_last_digit_for_one_and_two_processes(straight):
    two, one = evaluate(straight, 2), evaluate(straight, 1)
    assert one == two
    row = straight.summary.read_text().splitlines()[-1].split(",")
    header = straight.summary.read_text().splitlines()[0].split(",")
    in_training = dict(zip(header, row, strict=True))
    for name in ("top1", "top5", "loss", "ece", "brier"):
        assert float(in_training[f"eval_{name}"]) == one[name]


def test_two_processes_resume_bit_for_bit(straight, tmp_path):
    middle = sorted(path.name for path in checkpoint_folders(straight.checkpoints))[2]
    copy = copy_until(straight, middle, tmp_path)
    ended = train_processes("--resume", copy.path, processes=2)
    assert ended.returncode == 0, ended.stderr
    assert_same_run(straight, copy)
    assert straight.confidence.read_bytes() == copy.confidence.read_bytes()


def test_one_process_goes_on_where_two_stopped_and_says_so(straight, tmp_path, capsys):
    middle = sorted(path.name for path in checkpoint_folders(straight.checkpoints))[1]
    copy = copy_until(straight, middle, tmp_path)
    before = tensors_of(copy.checkpoints / middle)
    sums = sum(before[f"rank{rank}.safetensors:loss.base.correct_count"] for rank in range(2))
    assert sums.sum() > 0, "the half epoch has counted nothing: the test would show nothing"
    assert train_here("--resume", copy.path, "--batch-size", "8", "--checkpoint-every", "1") == 0
    assert "resuming with 1 process of 8 samples instead of 2 of 4" in capsys.readouterr().out
    (following,) = [path for path in checkpoint_folders(copy.checkpoints) if path.name > middle][-1:]
    after = tensors_of(following)["rank0.safetensors:loss.base.correct_count"]
    assert torch.all(after >= sums), "the statistics of the half epoch were lost"
    assert recorded(copy)[0]["samples"] == "56", "what two processes recorded of the half epoch was lost"


def test_another_global_batch_is_refused(straight):
    middle = sorted(checkpoint_folders(straight.checkpoints))[1]
    with pytest.raises(UserError, match="the run has 16 samples per update, 1 processes make 4"):
        train_here("--resume", middle, "--batch-size", "2")


SOFT_LABELS = """
import sys, torch
from sosr_timm import create_loss
from sosr_timm.distributed.processes import end_processes, start_processes
processes = start_processes()
logits = torch.randn(64, 10, generator=torch.Generator().manual_seed(0)) * 4
target = torch.arange(64) % 10
loss = create_loss("ols", num_classes=10)
rows = slice(processes.rank, None, processes.count)
loss(logits[rows], target[rows])
loss.end_epoch(processes.sum)
if processes.is_main:
    torch.save(loss.base.soft_labels, sys.argv[1])
end_processes()
"""


def test_two_processes_and_one_have_the_same_soft_labels_from_the_same_samples(tmp_path):
    script = tmp_path / "soft_labels.py"
    script.write_text(SOFT_LABELS)
    found = []
    for launcher in ([sys.executable], TORCHRUN):
        path = tmp_path / f"{len(found)}.pt"
        subprocess.run([*launcher, str(script), str(path)], env=ENVIRONMENT, check=True, cwd=ROOT)
        found.append(torch.load(path, weights_only=True))
    assert (found[0] > 0).any() and found[0].dtype == torch.float64
    torch.testing.assert_close(found[0], found[1], rtol=0, atol=1e-15)


def test_accelerate_launch_that_starts_fewer_processes_than_asked_is_refused(tmp_path):
    launcher = [sys.executable, "-m", "accelerate.commands.accelerate_cli", "launch"]
    ended = subprocess.run(
        [*launcher, "--cpu", "--num_processes", "2", "train.py", *SMALL, "--output", str(tmp_path)],
        cwd=ROOT,
        env={**os.environ, "OMP_NUM_THREADS": "1"},
        capture_output=True,
        text=True,
        check=False,
    )
    assert ended.returncode != 0
    assert "2 processes were asked for, 1 started" in ended.stderr
    assert "ACCELERATE_USE_CPU=true torchrun --nproc_per_node 2 train.py" in ended.stderr


def workers_of(launcher: subprocess.Popen) -> list[int]:
    """The processes that torchrun has started, by rank."""
    found = subprocess.run(["pgrep", "-P", str(launcher.pid)], capture_output=True, text=True, check=True)
    return [int(word) for word in found.stdout.split()]


def wait_for_line(process: subprocess.Popen, beginning: str) -> None:
    for line in process.stdout:
        if line.startswith(beginning):
            return
    raise AssertionError(f"the run ended without the line {beginning}")


@pytest.mark.parametrize("processes", [pytest.param(1, marks=pytest.mark.slow), 2])
def test_a_signal_saves_and_the_resumed_run_equals_the_straight_one(processes, tmp_path):
    """Wherever in the run the signal arrives: on a busy machine that may be some epochs later."""
    arguments = [*SMALL, "--loss", "ols+sosr", "--epochs", "500", "--batch-size", str(8 // processes)]
    arguments += ["--cutmix", "1.0", "--exit-code-on-signal", "85"]
    launcher = TORCHRUN if processes == 2 else [sys.executable]
    command = [*launcher, "train.py", *arguments, "--output", str(tmp_path / "stopped")]
    started = subprocess.Popen(command, cwd=ROOT, env=ENVIRONMENT, stdout=subprocess.PIPE, text=True)
    wait_for_line(started, "epoch 1  update 4")
    # With torchrun the first process alone gets it: the others must learn of it.
    os.kill(workers_of(started)[0] if processes == 2 else started.pid, signal.SIGTERM)
    output = started.communicate(timeout=120)[0]
    assert started.returncode == (85 if processes == 1 else 1), output
    assert "stopped early by signal 15" in output
    stopped = only_run(tmp_path / "stopped")
    epochs = str(progress_of(checkpoint_folders(stopped.checkpoints)[0])["progress"]["epoch"] + 1)
    resumed = ["--resume", stopped.path, "--stop-epoch", epochs]
    straight = [*arguments, "--output", tmp_path / "straight", "--stop-epoch", epochs]
    if processes == 2:
        for ended in run_ranks([Job(resumed), Job(straight)]):
            assert ended.codes == [0, 0], ended.errors
    else:
        assert train_here(*resumed) == train_here(*straight) == 0
    assert_same_run(only_run(tmp_path / "straight"), stopped)


def test_processes_whose_launcher_was_killed_save_and_end(tmp_path):
    arguments = [*SMALL, "--loss", "sosr", "--epochs", "500", "--batch-size", "4", "--output", str(tmp_path)]
    command = [*TORCHRUN, "train.py", *arguments]
    started = subprocess.Popen(command, cwd=ROOT, env=ENVIRONMENT, stdout=subprocess.PIPE, text=True)
    wait_for_line(started, "epoch 1  update 4")
    workers = [psutil.Process(number) for number in workers_of(started)]
    started.kill()
    # Resumed at once, by one process: it waits for the end of the others.
    run = only_run(tmp_path)
    assert train_here("--resume", run.path, "--batch-size", "8", "--stop-epoch", "3") == 0
    assert not psutil.wait_procs(workers, timeout=60)[1]
    started.communicate()


def test_a_killed_process_ends_all_and_the_run_resumes(tmp_path):
    arguments = [*SMALL, "--loss", "sosr", "--epochs", "30", "--batch-size", "4", "--output", str(tmp_path)]
    command = [*TORCHRUN, "train.py", *arguments]
    started = subprocess.Popen(
        command, cwd=ROOT, env=ENVIRONMENT, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True
    )
    wait_for_line(started, "epoch 2  update 4")
    os.kill(workers_of(started)[1], signal.SIGKILL)
    began = time.monotonic()
    _, errors = started.communicate(timeout=120)
    assert time.monotonic() - began < 60
    assert started.returncode != 0
    assert "local_rank: 1" in errors
    run = only_run(tmp_path)
    ended = train_processes("--resume", run.path, "--stop-epoch", "4", processes=2)
    assert ended.returncode == 0, ended.stderr


@pytest.mark.parametrize("batch_norm", [(), ("--no-ddp-bb",)], ids=["broadcast", "no-ddp-bb"])
def test_batch_norm_of_model_and_ema_survives_a_stop_in_every_process(batch_norm, tmp_path):
    """Stopped in the middle of an epoch and, where batch norm of the processes is not yet agreed on, at its end."""
    arguments = [*SMALL, "--loss", "ols+sosr", "--batch-size", "4", "--model-ema", "--model-ema-decay", "0.9"]
    arguments += batch_norm
    jobs = [Job([*arguments, "--output", tmp_path / "straight"])]
    updates = 7  # of an epoch
    for update in (3, updates, 2 * updates):
        run = [*arguments, "--output", tmp_path / str(update), "--experiment", "run", "--resume", "auto"]
        jobs += [Job(run, signal.SIGTERM, update, rank=1), Job(run)]
    jobs.append(Job(run))  # of a finished run: nothing to do for either process
    for ended in run_ranks(jobs):
        assert ended.codes == [0, 0], ended.errors
    straight = only_run(tmp_path / "straight")
    for update in (3, updates, 2 * updates):
        assert_same_run(straight, only_run(tmp_path / str(update)))
