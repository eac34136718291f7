"""Under a launcher that prints a report of its own, a line says that the report has nothing to add."""

import os

import psutil
import pytest

from sosr_timm.distributed.launchers import LauncherWatch, reporting_launcher, script_for_launchers
from sosr_timm.distributed.processes import run_main
from sosr_timm.errors import UserError

ONE = ["python", "/bin/accelerate", "launch", "train.py"]


@pytest.fixture
def started_by(monkeypatch):
    def start(line, elastic=False):
        class Parent:
            def __init__(self, number):
                assert number == os.getppid()

            cmdline = staticmethod(lambda: line)

        monkeypatch.setattr(psutil, "Process", Parent)
        monkeypatch.delenv("TORCHELASTIC_RUN_ID", raising=False)
        if elastic:
            monkeypatch.setenv("TORCHELASTIC_RUN_ID", "none")

    return start


@pytest.mark.parametrize(
    ("line", "elastic", "expected"),
    [
        (["bash"], False, ""),
        (ONE, False, "accelerate launch"),
        ([*ONE[:3], "--quiet", "train.py"], False, ""),
        ([*ONE[:3], "-q", "train.py"], True, "accelerate launch"),
        (["python", "/bin/torchrun", "train.py"], True, "torchrun"),
    ],
)
def test_which_launcher_reports(line, elastic, expected, started_by):
    started_by(line, elastic)
    assert reporting_launcher() == expected


def refuse():
    raise UserError("--lr: what is wrong")


def test_the_line_is_followed_by_where_to_look(started_by, capsys):
    started_by(ONE)
    assert run_main(refuse) == 2
    first, second = capsys.readouterr().err.splitlines()
    assert first.endswith(": error: --lr: what is wrong")
    assert second == "(what accelerate launch prints below only repeats that exit code 2 came back)"
    started_by(["bash"])
    assert run_main(refuse) == 2
    assert len(capsys.readouterr().err.splitlines()) == 1


TORCHRUN = ["python", "/bin/torchrun", "train.py"]


@pytest.mark.parametrize(
    ("line", "parent", "elastic", "later", "expected"),
    [
        (TORCHRUN, 77, True, 77, False),
        (TORCHRUN, 77, True, 1, True),
        (ONE, 77, False, 1, True),
        (["bash"], 77, False, 1, False),  # a shell that is closed, below nohup
        ([], 1, True, 1, True),  # torchrun ended while this process was starting
        (TORCHRUN, 1, True, 1, False),  # torchrun is the first process of a container
        (["init"], 1, False, 1, False),
    ],
)
def test_a_launcher_that_has_ended_is_noticed(line, parent, elastic, later, expected, started_by, monkeypatch):
    monkeypatch.setattr(os, "getppid", lambda: parent)
    started_by(line, elastic)
    watch = LauncherWatch()
    monkeypatch.setattr(os, "getppid", lambda: later)
    assert watch.has_ended() is expected


@pytest.mark.parametrize(
    ("started_as", "told"),
    [
        ("train.py", "train.py"),
        ("/home/me/checkout/validate.py", "validate.py"),
        ("/usr/bin/sosr-train", "-m sosr_timm.train"),
        ("/usr/lib/python3/site-packages/sosr_timm/train.py", "-m sosr_timm.train"),
    ],
)
def test_launchers_are_told_a_script_or_a_module(started_as, told, monkeypatch):
    monkeypatch.setattr("sys.argv", [started_as])
    assert script_for_launchers() == told
