"""A file is replaced in one step or not at all."""

import json
import math
import os
import stat

import pytest

from sosr_timm.files import replacing, set_default_mode, write_json, write_text


def test_a_failed_write_leaves_the_old_file(tmp_path, monkeypatch):
    path = tmp_path / "state.json"
    write_json(path, {"a": 1})
    with pytest.raises(ValueError, match="JSON"):
        write_json(path, {"a": math.nan})

    def crash(descriptor):
        raise OSError("disk full")

    monkeypatch.setattr(os, "fsync", crash)
    with pytest.raises(OSError, match="disk full"):
        write_json(path, {"a": 2})
    assert json.loads(path.read_text()) == {"a": 1}
    assert list(tmp_path.iterdir()) == [path]


def test_missing_folders_are_made(tmp_path):
    write_text(tmp_path / "a" / "b" / "page.md", "text")
    assert (tmp_path / "a" / "b" / "page.md").read_text() == "text"


def test_an_error_inside_the_block_leaves_nothing(tmp_path):
    with pytest.raises(RuntimeError, match="half way"), replacing(tmp_path / "page.md") as temporary:
        temporary.write_text("half")
        raise RuntimeError("half way")
    assert not list(tmp_path.iterdir())


def test_the_first_error_is_the_one_that_is_raised(tmp_path, monkeypatch):
    """Where a disk has become read-only the temporary file cannot be removed either."""

    def refuse(path, *rest, **keywords):
        raise OSError(30, "Read-only file system")

    monkeypatch.setattr("pathlib.Path.unlink", refuse)
    with pytest.raises(RuntimeError, match="half way"), replacing(tmp_path / "page.md"):
        raise RuntimeError("half way")


def test_without_sync_nothing_waits_for_the_disk(tmp_path, monkeypatch):
    monkeypatch.setattr(os, "fsync", lambda descriptor: pytest.fail("synced"))
    with replacing(tmp_path / "page.md", sync=False) as temporary:
        temporary.write_text("text")
    assert (tmp_path / "page.md").read_text() == "text"


def test_a_file_has_the_mode_that_the_umask_leaves(tmp_path):
    before = os.umask(0o027)
    try:
        write_text(tmp_path / "page.md", "text")
    finally:
        os.umask(before)
    assert stat.S_IMODE((tmp_path / "page.md").stat().st_mode) == 0o640


@pytest.mark.parametrize("umask", [0o022, 0o077, 0o007])
def test_a_file_gets_the_permissions_that_the_umask_gives(tmp_path, umask):
    path = tmp_path / "weights"
    old = os.umask(umask)
    try:
        path.touch(0o600)
        set_default_mode(path)
    finally:
        os.umask(old)
    assert stat.S_IMODE(path.stat().st_mode) == 0o666 & ~umask
    assert list(tmp_path.iterdir()) == [path]
