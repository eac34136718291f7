"""Which of the other processes has gone, when a collective fails: torch's own errors do not name it."""

from __future__ import annotations

import contextlib
import ipaddress
import os
import re
import socket
import time
import traceback
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass

import torch.distributed as dist

from sosr_timm.errors import one_line

# Parts of the messages with which gloo, NCCL and torch's store report a peer that is gone or silent; a backward pass
# raises them too. Gloo leaves its name out of some.
SIGNS = ("gloo", "NCCL", "Connection closed by peer", "Connection reset", "Broken pipe", "connection was closed")
SIGNS += ("caused pair closure", "Timed out waiting", "Connection refused", "Connection timed out", "No route to host")
# Where torch's Python code calls collectives.
CALLERS = ("torch/distributed/", "torch/nn/parallel/distributed.py")
PROBE_SECONDS = 5.0
# How long a process that has named its peer stays, so that the others do not take it for one that is lost.
LINGER_SECONDS = 2.0
# Nobody accepts these connections, so they wait in the kernel's queue: as many as it allows.
BACKLOG = 4096


@dataclass(frozen=True)
class Peer:
    """A process of the run: its rank, the name and address of its machine, and a port on which it listens."""

    rank: int
    host: str
    address: str
    port: int

    def __str__(self) -> str:
        return f"process {self.rank} on {self.host} ({self.address})"

    def reachable(self) -> bool:
        """Whether it runs and a connection to it can be made."""
        try:
            socket.create_connection((self.address, self.port), timeout=PROBE_SECONDS).close()
        except OSError:
            return False
        return True


class Peers:
    """The other processes of a run, each of which can be asked whether it still runs.

    Every process listens on a port. The kernel accepts connections there as long as the process lives, even while it
    computes, so that nothing has to answer.

    Args:
        rank: of this process.
        exchange: gives every process's text on every process, in the order of ranks.
    """

    def __init__(self, rank: int, exchange: Callable[[str], list[str]]):
        self.rank = rank
        address = own_address()
        self._listening = socket.create_server((address, 0), family=family_of(address), backlog=BACKLOG)
        # A forked loader process would keep the port open after this process has gone.
        os.register_at_fork(after_in_child=self._listening.close)
        lines = exchange(f"{socket.gethostname()} {address} {self._listening.getsockname()[1]}")
        self.all = [
            Peer(number, host, where, int(port)) for number, (host, where, port) in enumerate(map(str.split, lines))
        ]

    def can_ask(self, peer: Peer) -> bool:
        """Whether the address of a process leads to it from here.

        Where a machine's name leads to 127.0.0.1 or 127.0.1.1 on that machine itself, as Debian sets it up, its
        processes know no other address. It leads to them on their own machine only.
        """
        return not is_loopback(peer.address) or is_loopback(self.all[self.rank].address)

    def lost(self) -> list[Peer]:
        """The processes that cannot be reached; asks again for some seconds, because a process takes time to end."""
        others = [peer for peer in self.all if peer.rank != self.rank and self.can_ask(peer)]
        until = time.monotonic() + PROBE_SECONDS
        while True:
            with ThreadPoolExecutor(max(1, min(64, len(others)))) as pool:
                reachable = list(pool.map(Peer.reachable, others))
            found = [peer for peer, answer in zip(others, reachable, strict=True) if not answer]
            if found or not others or time.monotonic() > until:
                return found
            time.sleep(0.5)

    def describe(self, error: RuntimeError) -> str | None:
        """Which processes are lost, and what torch said; None for an error that has nothing to do with them."""
        reported = reports_lost_peer(error)
        if not reported and not raised_in_collective(error):
            return None
        lost = self.lost()
        if lost:
            names = ", ".join(str(peer) for peer in lost[:8]) + (f" and {len(lost) - 8} more" if len(lost) > 8 else "")
            what = f"{names} ended or cannot be reached"
        elif reported and not all(map(self.can_ask, self.all)):
            what = "a process ended or did not answer in time (the host name of one leads to 127.0.0.1 on its machine)"
        elif reported:
            what = "the other processes run and can be reached, but did not answer in time"
        else:
            return None
        said = re.sub(r"^\[\S+\] ", "", one_line(error, 160))  # without the line of torch's source
        return f"{what}; --resume auto continues from the last checkpoint ({said})"


def own_address() -> str:
    """The address of this machine on the way to the first process, which the others reach it by."""
    first = (os.environ.get("MASTER_ADDR", "127.0.0.1"), int(os.environ.get("MASTER_PORT", "29500")))
    for family, kind, protocol, _, target in socket.getaddrinfo(*first, type=socket.SOCK_DGRAM):
        with contextlib.suppress(OSError), socket.socket(family, kind, protocol) as unsent:
            unsent.connect(target)  # chooses a route and sends nothing
            return unsent.getsockname()[0]
    return "127.0.0.1"


def family_of(address: str) -> socket.AddressFamily:
    return socket.AF_INET6 if ":" in address else socket.AF_INET


def is_loopback(address: str) -> bool:
    return ipaddress.ip_address(address).is_loopback


def reports_lost_peer(error: RuntimeError) -> bool:
    """Whether the error's type or words are those of a peer that is gone or silent."""
    return isinstance(error, dist.DistError) or any(sign in str(error) for sign in SIGNS)


def raised_in_collective(error: RuntimeError) -> bool:
    """Whether torch's code for several processes raised the error, which may also be about the model."""
    frames = traceback.extract_tb(error.__traceback__)
    return bool(frames) and any(caller in frames[-1].filename.replace(os.sep, "/") for caller in CALLERS)
