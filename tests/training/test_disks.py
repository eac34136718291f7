"""Disks that are full, read-only or gone at the wrong moment: one line, and nothing lost that was complete."""

import os
import shutil
import subprocess
from contextlib import contextmanager
from pathlib import Path

import pytest
import torch

from sosr_timm.checkpoints.format import checkpoint_folders
from sosr_timm.checkpoints.run_folder import RunFolder
from sosr_timm.distributed.stop_signals import StopSignals
from sosr_timm.errors import UserError
from sosr_timm.files import room
from sosr_timm.training.checkpointing import bytes_of_checkpoint, save
from tests.training.harness import SMALL, assert_same_run, build_here, only_run, train_here

RUN = (*SMALL, "--loss", "sosr", "--train-num-samples", "16")


def mount(*words: object) -> None:
    if os.geteuid() or subprocess.run(["mount", *map(str, words)], check=False, capture_output=True).returncode:
        pytest.skip("only root can mount a disk")


@pytest.fixture
def disk(tmp_path):
    """A disk of 24 MB and 200 files."""
    path = tmp_path / "disk"
    path.mkdir()
    mount("-t", "tmpfs", "-o", "size=24M,nr_inodes=200", "tmpfs", path)
    yield path
    subprocess.run(["umount", "-l", str(path)], check=True)


def fill(disk: Path) -> Path:
    """Leave not a byte."""
    filler = disk / "filler"
    with open(filler, "wb", buffering=0) as file:
        try:
            while True:
                file.write(bytes(4096))
        except OSError:
            return filler


def read_only(disk: Path, on: bool = True) -> None:
    mount("-o", f"remount,{'ro' if on else 'rw'}", disk)


@contextmanager
def after_updates(monkeypatch, count: int, action):
    """Do something when a run has made so many updates."""
    after_update, made = StopSignals.after_update, []

    def counted(self):
        made.append(None)
        if len(made) == count:
            action()
        return after_update(self)

    with monkeypatch.context() as patch:
        patch.setattr(StopSignals, "after_update", counted)
        yield


def test_a_disk_that_is_full_at_the_start_is_one_line_and_leaves_nothing(disk):
    output = disk / "out"
    output.mkdir()
    filler = fill(disk)
    with pytest.raises(UserError, match=r"run folder .* cannot be written \(No space left on device\)"):
        train_here(*RUN, "--output", output)
    assert not list(output.iterdir())
    filler.unlink()
    assert train_here(*RUN, "--output", output) == 0


def test_a_disk_without_room_for_further_files_is_one_line(disk):
    output = disk / "out"
    output.mkdir()
    files = [disk / str(number) for number in range(500)]
    with pytest.raises(OSError, match="No space"):
        for file in files:
            file.touch()
    assert "no inode is free" in room(disk)
    with pytest.raises(UserError, match=r"run folder .* cannot be (made|written) \(No space left on device\)"):
        train_here(*RUN, "--output", output)
    for file in files[:3]:  # enough for the folders, not for the files in them
        file.unlink(missing_ok=True)
    with pytest.raises(UserError, match=r"run folder .* cannot be (made|written) \(No space left on device\)"):
        train_here(*RUN, "--output", output)
    assert not list(output.iterdir())


def test_a_disk_that_is_full_at_the_end_costs_the_result_until_there_is_room(disk, monkeypatch):
    from sosr_timm import results

    saved, full = results.save_result, []

    def save_on_full_disk(*arguments):
        full.append(fill(disk))
        return saved(*arguments)

    with monkeypatch.context() as patch:
        patch.setattr(results, "save_result", save_on_full_disk)
        with pytest.raises(UserError, match=r"result.json cannot be written \(No space.*the run is complete.*--resume"):
            train_here(*RUN, "--output", disk / "out")
    run = only_run(disk / "out")
    assert not (run.path / "result.json").exists() and checkpoint_folders(run.checkpoints)
    full[0].unlink()
    assert train_here("--resume", run.path) == 0
    assert (run.path / "result.json").is_file()


def test_a_read_only_disk_is_one_line_on_resuming(disk, capsys):
    assert train_here(*RUN, "--output", disk / "out", "--stop-epoch", "1") == 0
    run = only_run(disk / "out")
    read_only(disk)
    with pytest.raises(UserError, match=r"run folder .* cannot be written \(Read-only file system\)"):
        train_here("--resume", run.path)
    read_only(disk, False)
    assert train_here("--resume", run.path) == 0
    read_only(disk)
    capsys.readouterr()
    assert train_here("--resume", run.path) == 0
    assert "already finished (2 of 2 epochs); nothing to do" in capsys.readouterr().out


def test_a_disk_that_becomes_read_only_ends_the_run_which_resumes_later(disk, tmp_path, monkeypatch):
    arguments = [*RUN, "--checkpoint-every", "1", "--epochs", "3"]
    run = RunFolder(disk / "out" / "run")
    empty = tmp_path / "empty"
    empty.mkdir()
    # The disk itself cannot be made read-only while the run's lock is open.
    lose = after_updates(monkeypatch, 3, lambda: mount("--bind", "-o", "ro", empty, run.checkpoints))
    expected = (
        r"no checkpoint can be written: .* \(Read-only file system\); training ends after 1 of 3 epochs and 1 update$"
    )
    with lose, pytest.raises(UserError, match=expected):
        train_here(*arguments, "--output", disk / "out", "--experiment", "run")
    subprocess.run(["umount", str(run.checkpoints)], check=True)
    assert train_here("--resume", run.path) == 0
    assert train_here(*arguments, "--output", tmp_path / "straight") == 0
    assert_same_run(only_run(tmp_path / "straight"), run)


def test_a_run_whose_folder_is_deleted_ends_and_does_not_make_it_again(tmp_path, monkeypatch):
    lose = after_updates(monkeypatch, 1, lambda: shutil.rmtree(only_run(tmp_path).path))
    with lose, pytest.raises(UserError, match=r"is gone; training ends after 1 of 50 epochs$"):
        train_here(*RUN, "--output", tmp_path, "--epochs", "50")
    assert not list(tmp_path.iterdir())


def replace_checkpoints(run: RunFolder) -> None:
    shutil.rmtree(run.checkpoints)
    run.checkpoints.write_text("not a folder")


def test_a_file_in_the_place_of_the_checkpoints_ends_the_run(tmp_path, monkeypatch):
    lose = after_updates(monkeypatch, 1, lambda: replace_checkpoints(only_run(tmp_path)))
    with lose, pytest.raises(UserError, match=r"no checkpoint can be written: .*checkpoints .*\(Not a directory\)"):
        train_here(*RUN, "--output", tmp_path)


@pytest.mark.parametrize("resume", ["auto", "path"])
def test_a_file_in_the_place_of_the_checkpoints_is_one_line_on_resuming(resume, tmp_path):
    arguments = [*RUN, "--output", tmp_path, "--experiment", "run"]
    assert train_here(*arguments, "--stop-epoch", "1") == 0
    replace_checkpoints(only_run(tmp_path))
    with pytest.raises(UserError, match=r"checkpoints is not a folder|no complete checkpoint"):
        train_here(*arguments, "--resume", "auto" if resume == "auto" else tmp_path / "run")


def test_checkpoints_that_somebody_deletes_are_written_again(tmp_path, monkeypatch):
    with after_updates(monkeypatch, 1, lambda: shutil.rmtree(only_run(tmp_path).checkpoints)):
        assert train_here(*RUN, "--output", tmp_path) == 0
    assert checkpoint_folders(only_run(tmp_path).checkpoints)


def test_a_log_that_cannot_be_printed_does_not_end_the_run(tmp_path, monkeypatch):
    class FullDisk:
        def write(self, text):
            raise OSError(28, "No space left on device")

        def flush(self):
            pass

        def isatty(self):
            return False

    with monkeypatch.context() as patch:
        patch.setattr("sys.stdout", FullDisk())
        assert train_here(*RUN, "--output", tmp_path) == 0
    assert (only_run(tmp_path).path / "result.json").is_file()


@pytest.mark.parametrize("optimizer", ["sgd", "momentum", "adamw", "adafactor"])
def test_the_size_of_a_checkpoint_is_that_of_the_optimizer_in_use(optimizer, tmp_path):
    run = build_here(tmp_path, *RUN, "--opt", optimizer, "--model-ema")
    run.folder.write_about({}, {})
    for parameter in run.model.parameters():
        parameter.grad = torch.zeros_like(parameter)
    run.optimizer.step()
    checkpoint = save(run)
    written = sum(path.stat().st_size for path in checkpoint.glob("*.safetensors"))
    assert bytes_of_checkpoint(run) <= written < 1.05 * bytes_of_checkpoint(run) + 100_000
