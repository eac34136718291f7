"""When a collective fails, the process that is gone is named."""

import signal
import socket
from pathlib import Path

import pytest
import torch
import torch.distributed as dist

from sosr_timm.distributed import peers, processes
from sosr_timm.distributed.peers import Peers, reports_lost_peer
from sosr_timm.distributed.processes import EXIT_LOST_PEER, run_main

GLOO = "[/build/gloo/transport/tcp/pair.cc:545] Connection closed by peer [10.0.0.2]:29376"


@pytest.fixture
def other(monkeypatch):
    """A listening socket in the place of process 1; this process is process 0."""
    monkeypatch.setattr(peers, "PROBE_SECONDS", 0.2)
    monkeypatch.setattr(processes, "LINGER_SECONDS", 0.0)
    monkeypatch.setenv("MASTER_ADDR", "127.0.0.1")
    before = signal.getsignal(signal.SIGTERM)
    with socket.create_server(("127.0.0.1", 0)) as listening:
        line = f"node2 127.0.0.1 {listening.getsockname()[1]}"
        monkeypatch.setattr(processes, "_peers", Peers(0, lambda mine: [mine, line]))
        yield listening
    signal.signal(signal.SIGTERM, before)


def fail():
    raise RuntimeError(GLOO)


def test_a_process_that_is_gone_is_named_with_its_machine(other, capsys):
    other.close()
    assert run_main(fail) == EXIT_LOST_PEER
    (line,) = capsys.readouterr().err.splitlines()
    assert "error (process 0): process 1 on node2 (127.0.0.1) ended or cannot be reached; --resume auto" in line
    assert line.endswith("(Connection closed by peer [10.0.0.2]:29376)")


def test_a_process_that_still_runs_is_not_called_lost(other, capsys):
    assert run_main(fail) == EXIT_LOST_PEER
    assert "the other processes run and can be reached, but did not answer in time" in capsys.readouterr().err


def test_an_address_that_leads_elsewhere_is_not_asked(other, monkeypatch, capsys):
    """Process 1 knows its machine as 127.0.0.1, and this process is on another machine."""
    other.close()
    here = peers.Peer(0, "node1", "10.0.0.1", 1)
    monkeypatch.setattr(processes._peers, "all", [here, *processes._peers.all[1:]])
    assert run_main(fail) == EXIT_LOST_PEER
    said = capsys.readouterr().err
    assert "node2" not in said and "a process ended or did not answer in time" in said
    with pytest.raises(RuntimeError, match="anything"):
        run_main(fail_in_torch)


def test_many_processes_may_ask_at_once(other):
    """Nobody accepts, so every connection stays in the queue."""
    allowed = Path("/proc/sys/net/core/somaxconn")
    if allowed.is_file() and int(allowed.read_text()) < 400:
        pytest.skip("this kernel keeps fewer connections waiting")
    mine = processes._peers.all[0]
    assert all(mine.reachable() for _ in range(400))


def fail_in_torch():
    exec(compile("raise RuntimeError('anything')", "/packages/torch/nn/parallel/distributed.py", "exec"))


def test_an_error_within_torchs_own_collectives_needs_no_words(other, capsys):
    other.close()
    assert run_main(fail_in_torch) == EXIT_LOST_PEER
    assert "process 1 on node2" in capsys.readouterr().err


def test_an_error_of_the_model_stays_as_it_is(other):
    """DistributedDataParallel reports unused parameters from the same place."""
    with pytest.raises(RuntimeError, match="anything"):
        run_main(fail_in_torch)
    other.close()
    with pytest.raises(RuntimeError, match="cannot be multiplied"):
        run_main(lambda: torch.ones(2, 3) @ torch.ones(2, 3))


@pytest.mark.parametrize(
    "error", [dist.DistBackendError("timeout"), RuntimeError("Application timeout caused pair closure")]
)
def test_the_words_of_gloo_and_the_types_of_torch_are_known(error):
    assert reports_lost_peer(error)


def test_without_other_processes_the_error_stays_as_it_is(monkeypatch):
    monkeypatch.setattr(processes, "_peers", None)
    with pytest.raises(RuntimeError, match="Connection closed"):
        run_main(fail)
