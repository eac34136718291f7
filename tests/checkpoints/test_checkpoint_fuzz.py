"""Whatever happens to the files of a run: it resumes from a complete checkpoint or ends in one line, never else."""

import shutil

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from sosr_timm.checkpoints.format import checkpoint_folders
from sosr_timm.checkpoints.run_folder import RunFolder
from sosr_timm.errors import UserError
from tests.training.harness import SMALL, assert_same_run, only_run, train_here

DEEDS = st.sampled_from(["flip", "truncate", "delete", "empty", "append", "garbage", "folder"])


@pytest.fixture(scope="module")
def straight(tmp_path_factory) -> RunFolder:
    output = tmp_path_factory.mktemp("straight")
    assert (
        train_here(*SMALL, "--loss", "ols", "--checkpoint-every", "3", "--checkpoint-hist", "9", "--output", output)
        == 0
    )
    return only_run(output)


@settings(max_examples=25, deadline=None, suppress_health_check=list(HealthCheck), derandomize=True)
@given(data=st.data())
def test_damaged_files(straight, tmp_path_factory, data):
    run = RunFolder(tmp_path_factory.mktemp("damaged") / "run")
    shutil.copytree(straight.path, run.path, symlinks=True)
    checkpoints = checkpoint_folders(run.checkpoints)
    touched = [path for path in checkpoints if data.draw(st.booleans(), "damage")]
    # What tells the run itself, and the journal, may be damaged too.
    places = [file for path in touched for file in path.iterdir()]
    if data.draw(st.integers(0, 4)) == 0:
        places += [run.about, run.options]
    for path in places:
        if data.draw(st.booleans()):
            harm(path, data.draw(DEEDS), data.draw(st.integers(0, 10**6)))
    try:
        assert train_here("--resume", run.path) == 0
    except UserError as error:
        assert "\n" not in str(error)
        return
    assert_same_run(straight, run)


def harm(path, deed: str, number: int) -> None:
    content = bytearray(path.read_bytes())
    if deed == "flip" and content:
        content[number % len(content)] ^= 1 + number % 255
    elif deed == "truncate":
        content = content[: number % (len(content) + 1)]
    elif deed == "empty":
        content = bytearray()
    elif deed == "append":
        content += b"\x00garbage"
    elif deed == "garbage":
        content = bytearray(b"[" * (number % 5000))
    if deed in ("delete", "folder"):
        path.unlink()
        if deed == "folder":
            path.mkdir()
    else:
        path.write_bytes(bytes(content))
