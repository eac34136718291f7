"""Two machines, as far as the network can tell: network namespaces of Linux joined by a cable."""

from __future__ import annotations

import contextlib
import os
import shutil
import subprocess
from collections.abc import Iterator
from dataclasses import dataclass

import pytest

ADDRESSES = ("10.77.0.1", "10.77.0.2")
NAMES = ("node1", "node2")
INTERFACE = "cable"
PROGRAMS = ("ip", "nsenter", "setpriv", "unshare")


@dataclass
class Machine:
    """A network namespace with one interface and a host name of its own.

    Attributes:
        address: of its interface.
        process: that keeps it alive, by number.
    """

    address: str
    process: int

    def command(self, *words: str) -> list[str]:
        """The command line that runs a program on this machine."""
        return ["nsenter", "--net", "--uts", "--mount", f"--wd={os.getcwd()}", "--target", str(self.process), *words]

    def run(self, *words: str) -> None:
        """Run a program there.

        Raises:
            subprocess.CalledProcessError: it failed.
        """
        subprocess.run(self.command(*words), check=True, capture_output=True)

    def cable(self, state: str) -> None:
        """Plug the cable in ("up") or pull it out ("down")."""
        self.run("ip", "link", "set", INTERFACE, state)


@contextlib.contextmanager
def joined_machines() -> Iterator[list[Machine]]:
    """Two machines with a cable between them; they are gone at the end, and when this process is killed.

    Raises:
        subprocess.CalledProcessError: this user may not make them.
    """
    with contextlib.ExitStack() as stack:
        machines = [
            Machine(address, stack.enter_context(alone(name))) for name, address in zip(NAMES, ADDRESSES, strict=True)
        ]
        ends = [["name", INTERFACE, "netns", str(machine.process)] for machine in machines]
        subprocess.run(["ip", "link", "add", *ends[0], "type", "veth", "peer", *ends[1]], check=True)
        for machine in machines:
            machine.run("ip", "address", "add", f"{machine.address}/24", "dev", INTERFACE)
            machine.run("ip", "link", "set", "lo", "up")
            machine.cable("up")
        yield machines


@contextlib.contextmanager
def alone(name: str) -> Iterator[int]:
    """A process in namespaces of its own, which live as long as it does; gives its number."""
    # Machines of a cluster know each other's names: each has an /etc/hosts of its own.
    hosts = "".join(f"{address} {host}\\n" for address, host in zip(ADDRESSES, NAMES, strict=True))
    ready = f"""
        hosts=$(mktemp) && printf '127.0.0.1 localhost\\n{hosts}' > $hosts
        mount --bind $hosts /etc/hosts && rm $hosts
        hostname {name} && echo ready && exec sleep infinity
    """
    command = ["setpriv", "--pdeathsig", "KILL", "unshare", "--net", "--uts", "--mount", "sh", "-e", "-c", ready]
    with subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True) as process:
        try:
            if process.stdout.readline() != "ready\n":
                error = process.communicate()[1]
                raise subprocess.CalledProcessError(process.returncode, command, stderr=error)
            yield process.pid
        finally:
            process.kill()


@pytest.fixture(scope="module")
def two_machines() -> Iterator[list[Machine]]:
    """Two machines joined by a cable."""
    missing = [name for name in PROGRAMS if not shutil.which(name)]
    if missing:
        pytest.skip(f"{missing[0]} is not installed (Debian's packages iproute2 and util-linux)")
    with contextlib.ExitStack() as stack:
        try:
            machines = stack.enter_context(joined_machines())
        except (subprocess.CalledProcessError, OSError) as error:
            if os.geteuid() == 0 and "not permitted" not in str(getattr(error, "stderr", error)):
                raise
            pytest.skip(f"network namespaces are not allowed here: {getattr(error, 'stderr', None) or error}")
        yield machines
