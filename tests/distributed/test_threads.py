"""Threads of a process: the cores shared out, unless somebody chose; a launcher's own 1 is no choice."""

import os
import subprocess
import sys

import psutil
import pytest
import torch

from sosr_timm.distributed import threads
from sosr_timm.distributed.launchers import is_launcher
from sosr_timm.distributed.threads import chosen_threads, cores_available, set_threads, threads_of_process


@pytest.mark.parametrize(
    ("cores", "local_processes", "chosen", "expected"),
    [(8, 1, None, 8), (8, 3, None, 2), (2, 4, None, 1), (8, 2, 3, 3), (1, 1, None, 1), (4, 0, None, 4)],
)
def test_cores_are_shared_out(cores, local_processes, chosen, expected):
    assert threads_of_process(cores, local_processes, chosen) == expected


def test_cores_are_physical_and_those_that_may_be_used(monkeypatch):
    monkeypatch.setattr(os, "sched_getaffinity", lambda process: set(range(6)), raising=False)
    monkeypatch.setattr(psutil, "cpu_count", lambda logical=True: 16 if logical else 8)
    assert cores_available() == 3
    monkeypatch.setattr(psutil, "cpu_count", lambda logical=True: None)
    assert cores_available() == 6


@pytest.mark.parametrize(
    ("line", "expected"),
    [
        (["/bin/python", "/bin/accelerate", "launch", "train.py"], True),
        (["/bin/python", "-m", "accelerate.commands.launch", "train.py"], True),
        (["/bin/python", "-m", "torch.distributed.run", "--nproc_per_node", "2", "train.py"], True),
        (["/bin/python", "/bin/torchrun", "train.py"], True),
        (["bash", "run.sh"], False),
        (["/bin/python", "-m", "pytest", "tests/accelerate"], False),
    ],
)
def test_launchers(line, expected):
    assert is_launcher(line) is expected


@pytest.mark.parametrize(
    ("value", "line", "of_parent", "expected"),
    [
        ("", ["bash"], {}, None),
        ("many", ["bash"], {}, None),
        ("0", ["bash"], {}, None),
        ("1", ["bash"], {}, 1),
        ("4,2", ["python", "accelerate", "launch"], {}, 4),
        ("1", ["python", "accelerate", "launch", "train.py"], {}, None),
        ("1", ["python", "accelerate", "launch", "train.py"], {"OMP_NUM_THREADS": "1"}, 1),
        ("1", ["python", "accelerate", "launch", "--num_cpu_threads_per_process=1", "train.py"], {}, 1),
    ],
)
def test_what_somebody_chose(value, line, of_parent, expected, monkeypatch):
    class Parent:
        def __init__(self, number):
            assert number == os.getppid()

        cmdline = staticmethod(lambda: line)
        environ = staticmethod(lambda: of_parent)

    monkeypatch.setattr(psutil, "Process", Parent)
    monkeypatch.setenv("OMP_NUM_THREADS", value)
    assert chosen_threads() == expected


def test_a_parent_that_cannot_be_looked_at_changes_nothing(monkeypatch):
    def gone(number):
        raise psutil.NoSuchProcess(number)

    monkeypatch.setattr(psutil, "Process", gone)
    monkeypatch.setenv("OMP_NUM_THREADS", "1")
    assert chosen_threads() == 1


def test_only_the_cpu_is_set(monkeypatch):
    found = []
    monkeypatch.setattr(torch, "set_num_threads", found.append)
    monkeypatch.setattr(threads, "cores_available", lambda: 8)
    monkeypatch.setattr(threads, "chosen_threads", lambda: None)
    monkeypatch.setenv("LOCAL_WORLD_SIZE", "2")
    set_threads(torch.device("cuda"))
    set_threads(torch.device("cpu"))
    assert found == [4]


def test_accelerate_launch_leaves_no_core_idle(tmp_path):
    """The launcher's own 1 is seen through in a real launch, and a 1 of the user's is kept."""
    script = tmp_path / "count.py"
    script.write_text(
        "import torch\nfrom sosr_timm.distributed.threads import set_threads\n"
        "set_threads(torch.device('cpu'))\nprint('threads', torch.get_num_threads())\n"
    )
    command = [sys.executable, "-m", "accelerate.commands.launch", "--num_processes", "1", str(script)]
    for given, expected in ((None, cores_available()), ("1", 1)):
        environment = {name: value for name, value in os.environ.items() if name != "OMP_NUM_THREADS"}
        environment |= {"PYTHONPATH": os.getcwd()} | ({"OMP_NUM_THREADS": given} if given else {})
        ended = subprocess.run(command, env=environment, capture_output=True, text=True, timeout=120, check=True)
        assert f"threads {expected}" in ended.stdout
