"""Faults in data, numbers and files: named, counted, survived; and nothing ever runs what a file holds."""

import json
import os
import pickle
import shutil
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest
import torch
from safetensors.torch import load_file

from sosr_timm.checkpoints import run_folder
from sosr_timm.checkpoints.format import checkpoint_folders
from sosr_timm.data.order.order import TrainingOrder
from sosr_timm.data.sources.embedded import digits
from sosr_timm.errors import UserError
from sosr_timm.options.load import load
from sosr_timm.options.validate import ValidateOptions
from sosr_timm.tracking.metrics_log import read_lines
from sosr_timm.training.advice import smaller_batch
from sosr_timm.validation.main import run_validation
from tests.training.harness import ROOT, SMALL, assert_same_run, free_port, only_run, train_here, train_processes

TRAIN = (
    "--model",
    "cifar_resnet20",
    "--in-chans",
    "1",
    "--img-size",
    "8",
    "--mean",
    "0.3",
    "--std",
    "0.4",
    "--workers",
    "0",
)
TRAIN += ("--epochs", "1", "--batch-size", "8", "--warmup-epochs", "0", "--log-interval", "2", "--loss", "sosr")


@pytest.fixture
def images(tmp_path) -> Path:
    """Digits as files: 60 to train on and 40 to evaluate on, in class directories."""
    for split, count in (("train", 60), ("validation", 40)):
        source = digits("train" if split == "train" else "validation", None, False)
        for index in range(count):
            image, label = source.load(index)
            folder = tmp_path / "images" / split / str(label)
            folder.mkdir(parents=True, exist_ok=True)
            image.save(folder / f"{index}.png")
    return tmp_path / "images"


def damage(path: Path) -> Path:
    path.write_bytes(path.read_bytes()[:40])
    return path


def test_unreadable_training_images_are_named_and_counted(images, tmp_path, capsys):
    bad = [damage(sorted((images / "train" / "0").iterdir())[0]), damage(sorted((images / "train" / "3").iterdir())[1])]
    # Every image is drawn: 60 images in batches of 10.
    arguments = [*TRAIN, "--batch-size", "10", "--data-dir", images, "--output", tmp_path / "out"]
    assert train_here(*arguments, "--max-bad-images", "0.1") == 0
    output = capsys.readouterr().out
    for path in bad:
        assert output.count(f"unreadable image left out: {path}") == 1
    records = read_lines(only_run(tmp_path / "out").metrics)
    assert [r["unreadable"] for r in records if r["kind"] == "train"][-1] == 2


def test_too_many_unreadable_images_end_the_run(images, tmp_path):
    damage(sorted((images / "train" / "0").iterdir())[0])
    with pytest.raises(UserError, match=r"1 of 60 training images cannot be read, the last .*--max-bad-images allows"):
        train_here(*TRAIN, "--batch-size", "10", "--data-dir", images, "--output", tmp_path / "out")


def test_an_unreadable_evaluation_image_is_named_and_fails(images, tmp_path):
    bad = damage(sorted((images / "validation" / "3").iterdir())[0])
    with pytest.raises(UserError, match=f"{bad} cannot be read"):
        train_here(*TRAIN, "--data-dir", images, "--output", tmp_path / "out")


def test_splits_with_other_classes_are_refused(images, tmp_path):
    shutil.rmtree(images / "validation" / "3")
    with pytest.raises(UserError, match=r"other classes \(10 in training, 9 in evaluation\): '3' is missing in eval"):
        train_here(*TRAIN, "--data-dir", images, "--output", tmp_path / "out")


def test_a_flat_validation_folder_says_what_to_do(images, tmp_path):
    for path in list((images / "validation").rglob("*.png")):
        path.rename(images / "validation" / f"{path.parent.name}_{path.name}")
    for path in list((images / "validation").iterdir()):
        if path.is_dir():
            path.rmdir()
    with pytest.raises(
        UserError, match="holds 40 files and no class directories; move each image into the directory of its"
    ):
        train_here(*TRAIN, "--data-dir", images, "--output", tmp_path / "out")


def test_a_folder_without_splits_is_not_trained_and_evaluated_on_alike(images, tmp_path):
    folder = images / "train"
    with pytest.raises(UserError, match=r"has no splits: the same 60 images would be trained and evaluated on"):
        train_here(*TRAIN, "--data-dir", folder, "--output", tmp_path / "out")
    assert train_here(*TRAIN, "--data-dir", folder, "--val-split", "train", "--output", tmp_path / "out") == 0


def test_a_process_that_sees_other_files_is_found(images, tmp_path):
    shutil.copytree(images, tmp_path / "other")
    next((tmp_path / "other" / "train" / "0").iterdir()).unlink()
    port = free_port()
    started = []
    for rank, folder in enumerate((images, tmp_path / "other")):
        environment = {**os.environ, "ACCELERATE_USE_CPU": "true", "OMP_NUM_THREADS": "1", "RANK": str(rank)}
        environment |= {"LOCAL_RANK": str(rank), "WORLD_SIZE": "2", "LOCAL_WORLD_SIZE": "2"}
        environment |= {"MASTER_ADDR": "127.0.0.1", "MASTER_PORT": str(port)}
        command = [sys.executable, "train.py", *TRAIN, "--data-dir", str(folder), "--output", str(tmp_path / "out")]
        started.append(subprocess.Popen(command, cwd=ROOT, env=environment, stderr=subprocess.PIPE, text=True))
    errors = [process.communicate(timeout=120)[1] for process in started]
    assert [process.returncode for process in started] == [2, 2]
    assert "process 1 sees other files than process 0, which sees 60 training and 40 evaluation images" in errors[0]


def test_a_loss_that_is_not_finite_ends_the_run_and_spares_the_checkpoint(tmp_path):
    common = (*SMALL, "--loss", "sosr", "--output", tmp_path, "--experiment", "run")
    assert train_here(*common, "--stop-epoch", "1") == 0
    run = only_run(tmp_path)
    (before,) = checkpoint_folders(run.checkpoints)
    explode(before)
    with pytest.raises(
        UserError, match=r"step 8: the loss is not finite in ce.*learning rate 0.025.*nothing was saved"
    ):
        train_here("--resume", run.path, "--stop-epoch", "2")
    assert checkpoint_folders(run.checkpoints) == [before]


def explode(checkpoint: Path) -> None:
    """Make the first forward pass overflow, and seal the checkpoint again."""
    from safetensors.torch import save_file

    from sosr_timm.checkpoints.format import MANIFEST, write_manifest

    state = load_file(str(checkpoint / "model.safetensors"))
    state["fc.weight"] *= float("inf")
    save_file(state, str(checkpoint / "model.safetensors"))
    (checkpoint / MANIFEST).unlink()
    write_manifest(checkpoint, {"epoch": 1, "update": 0, "version": "test"})


def test_skip_leaves_out_the_bad_update_and_nothing_else(images, tmp_path, capsys):
    arguments = [*SMALL, "--loss", "ols+sosr", "--output", tmp_path / "out", "--on-nonfinite", "skip"]
    assert train_here(*arguments, "--lr", "1e15", "--epochs", "1", "--log-interval", "7") == 0
    output = capsys.readouterr().out
    assert "update skipped, 1 so far" in output and "the loss is not finite in ols" in output
    checkpoint = checkpoint_folders(only_run(tmp_path / "out").checkpoints)[0]
    state = load_file(str(checkpoint / "model.safetensors"))
    assert all(torch.isfinite(tensor).all() for tensor in state.values()), "a skipped update left its mark"
    soft_labels = load_file(str(checkpoint / "rank0.safetensors"))["loss.base.soft_labels"]
    assert torch.isfinite(soft_labels).all()


def test_out_of_memory_advice_keeps_the_global_batch():
    order = TrainingOrder(1000, 100)
    assert smaller_batch(100, 1, order, pairs=False).startswith("--batch-size 50 --grad-accum-steps 2 keep the global")
    assert smaller_batch(100, 3, order, pairs=True).startswith("--batch-size 50 --grad-accum-steps 6 keep the global")
    assert "no smaller batch" in smaller_batch(1, 1, TrainingOrder(10, 1), pairs=False)


@pytest.fixture
def small_disk(tmp_path):
    """A disk of 16 MB."""
    disk = tmp_path / "disk"
    disk.mkdir()
    mount = ["mount", "-t", "tmpfs", "-o", "size=16M", "tmpfs", str(disk)]
    if os.geteuid() or subprocess.run(mount, check=False).returncode:
        pytest.skip("only root can make a small disk")
    yield disk
    subprocess.run(["umount", "-l", str(disk)], check=True)


def test_a_full_disk_costs_a_checkpoint_and_not_the_run(small_disk, tmp_path, capsys):
    arguments = [*SMALL, "--loss", "sosr", "--epochs", "3", "--checkpoint-hist", "0"]
    assert train_here(*arguments, "--output", small_disk, "--stop-epoch", "1") == 0
    run = only_run(small_disk)
    (good,) = checkpoint_folders(run.checkpoints)
    filler = small_disk / "filler"
    filler.write_bytes(bytes(max(0, shutil.disk_usage(small_disk).free - 300_000)))
    assert train_here("--resume", run.path, "--stop-epoch", "2") == 0
    output = capsys.readouterr().out
    assert "checkpoint not written: " in output and "No space left on device" in output
    assert checkpoint_folders(run.checkpoints) == [good] and not list(run.checkpoints.glob(".unfinished*"))
    filler.unlink()
    assert train_here("--resume", run.path) == 0
    assert train_here(*arguments, "--output", tmp_path / "straight") == 0
    assert_same_run(only_run(tmp_path / "straight"), run)


class Malicious:
    """Leaves a mark where it is unpickled."""

    def __init__(self, mark: Path):
        self.mark = mark

    def __reduce__(self):
        return (open, (str(self.mark), "w"))


@pytest.mark.parametrize("entry", ["initial-checkpoint", "pretrained-path", "checkpoint", "run folder", "class-map"])
def test_a_malicious_pickle_is_refused_everywhere(entry, tmp_path, images):
    mark, evil = tmp_path / "mark", tmp_path / "evil.pth"
    torch.save({"state_dict": Malicious(mark)}, evil)
    with pytest.raises(UserError):
        if entry in ("initial-checkpoint", "pretrained-path"):
            train_here(*SMALL, "--output", tmp_path / "out", f"--{entry}", evil)
        elif entry == "checkpoint":
            arguments = ["--dataset", "digits", "--model", "cifar_resnet20", "--checkpoint", str(evil)]
            run_validation(load(ValidateOptions, arguments))
        elif entry == "class-map":
            evil = tmp_path / "evil.pkl"
            evil.write_bytes(pickle.dumps(Malicious(mark)))
            train_here(*TRAIN, "--data-dir", images, "--class-map", evil, "--output", tmp_path / "out")
        else:
            assert train_here(*SMALL, "--epochs", "1", "--output", tmp_path / "out") == 0
            run = only_run(tmp_path / "out")
            shutil.copy(evil, checkpoint_folders(run.checkpoints)[0] / "model.safetensors")
            train_here("--resume", run.path)
    assert not mark.exists()


def test_a_run_in_training_is_not_resumed_by_another_process(tmp_path, monkeypatch):
    monkeypatch.setattr(run_folder, "PATIENCE", 0.2)
    common = [*SMALL, "--loss", "sosr", "--epochs", "200", "--output", str(tmp_path)]
    command = [sys.executable, "train.py", *common]
    environment = {**os.environ, "ACCELERATE_USE_CPU": "true", "OMP_NUM_THREADS": "1"}
    started = subprocess.Popen(command, cwd=ROOT, env=environment, stdout=subprocess.PIPE, text=True)
    try:
        for line in started.stdout:
            if line.startswith("epoch 1"):
                break
        run = only_run(tmp_path)
        with pytest.raises(UserError, match=f"is being trained in by process {started.pid}"):
            train_here("--resume", run.path)
    finally:
        started.kill()
        started.communicate()


def test_a_signal_in_the_evaluation_saves_and_the_resumed_run_equals_the_straight_one(tmp_path):
    arguments = [*SMALL, "--loss", "ols+sosr", "--train-num-samples", "16", "--val-num-samples", "359"]
    arguments += ["--validation-batch-size", "1", "--epochs", "3"]
    environment = {**os.environ, "ACCELERATE_USE_CPU": "true", "OMP_NUM_THREADS": "1"}
    command = [sys.executable, "train.py", *arguments, "--output", str(tmp_path / "stopped")]
    started = subprocess.Popen(command, cwd=ROOT, env=environment, stdout=subprocess.PIPE, text=True)
    for line in started.stdout:
        if line.startswith("epoch 1  update 2/2"):
            break
    time.sleep(0.2)
    started.send_signal(signal.SIGUSR1)
    assert "stopped early by signal 10" in started.communicate(timeout=60)[0]
    stopped = only_run(tmp_path / "stopped")
    progress = json.loads((checkpoint_folders(stopped.checkpoints)[0] / "run.json").read_text())["progress"]
    assert progress["evaluating"] and progress["update"] == 2
    assert train_processes("--resume", stopped.path).returncode == 0
    assert train_processes(*arguments, "--output", tmp_path / "straight").returncode == 0
    assert_same_run(only_run(tmp_path / "straight"), stopped)


SHORT_OF_MEMORY = """
import resource, sys
from pathlib import Path
from sosr_timm.distributed.processes import run_main
from sosr_timm.training.main import run_training
from sosr_timm.options.load import load
from sosr_timm.options.train import TrainOptions

loaded = load(TrainOptions, sys.argv[1:])
used = int(Path("/proc/self/statm").read_text().split()[0]) * resource.getpagesize()
resource.setrlimit(resource.RLIMIT_AS, (used + 1_200_000_000, resource.RLIM_INFINITY))
sys.exit(run_main(lambda: run_training(loaded)))
"""


def test_a_batch_that_does_not_fit_gets_advice(tmp_path):
    arguments = [*SMALL, "--loss", "sosr", "--img-size", "1536", "--train-num-samples", "16", "--output", str(tmp_path)]
    ended = subprocess.run(
        [sys.executable, "-c", SHORT_OF_MEMORY, *arguments],
        cwd=ROOT,
        env={**os.environ, "ACCELERATE_USE_CPU": "true", "OMP_NUM_THREADS": "1"},
        capture_output=True,
        text=True,
        timeout=300,
        check=False,
    )
    assert ended.returncode == 2, ended.stderr
    assert "out of memory at step 1: --batch-size 4 --grad-accum-steps 2 keep the global batch" in ended.stderr
    assert "Traceback" not in ended.stderr
