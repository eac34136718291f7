"""The processes of a run: how many there are, what they agree on, how one of them ends badly."""

from __future__ import annotations

import datetime
import os
import signal
import sys
import time
from collections.abc import Callable
from typing import NoReturn

import torch
import torch.distributed as dist
from accelerate import Accelerator, DistributedDataParallelKwargs, InitProcessGroupKwargs
from accelerate.state import PartialState

from sosr_timm.distributed.launchers import processes_asked_for, reporting_launcher, script_for_launchers
from sosr_timm.distributed.peers import LINGER_SECONDS, Peers
from sosr_timm.distributed.threads import set_threads
from sosr_timm.errors import UserError, one_line

EXIT_USER_ERROR = 2
EXIT_LOST_PEER = 1
TIMEOUT = 600

# The others of this process's run, once it has joined them.
_peers: Peers | None = None


def run_main(main: Callable[[], int]) -> int:
    """Run a script's main function; what its user can fix becomes one line and exit code 2, a lost process 1.

    Args:
        main: returns the exit code.
    """
    try:
        return main()
    except UserError as error:
        rank = int(os.environ.get("RANK", "0"))
        if rank == 0 or error.on_one_rank:
            where = f" (process {rank})" if error.on_one_rank and rank else ""
            print(f"{os.path.basename(sys.argv[0])}: error{where}: {error}", file=sys.stderr, flush=True)
            if launcher := reporting_launcher():
                said = f"(what {launcher} prints below only repeats that exit code {EXIT_USER_ERROR} came back)"
                print(said, file=sys.stderr, flush=True)
        return EXIT_USER_ERROR
    except RuntimeError as error:
        if _peers is None:
            raise
        signal.signal(signal.SIGTERM, signal.SIG_IGN)  # the launcher's, which sees the lost process at the same time
        said = _peers.describe(error)
        if said is None:
            raise
        print(f"{os.path.basename(sys.argv[0])}: error (process {_peers.rank}): {said}", file=sys.stderr, flush=True)
        time.sleep(LINGER_SECONDS)
        return EXIT_LOST_PEER


class Processes:
    """The processes of a run and what they share.

    Collectives on small values go over a group of their own on the CPU, so that they never wait for an accelerator.

    Attributes:
        accelerator: Accelerate's, for precision, backward and devices.
        rank: this process, from 0.
        count: of all.

    Args:
        accelerator: Accelerate's.
        timeout: seconds that a collective on small values waits for the other processes.
    """

    def __init__(self, accelerator: Accelerator, timeout: int = TIMEOUT):
        self.accelerator = accelerator
        self.rank = accelerator.process_index
        self.count = accelerator.num_processes
        self._group = None
        if self.count > 1 and dist.get_backend() != "gloo":
            self._group = dist.new_group(backend="gloo", timeout=datetime.timedelta(seconds=timeout))

    @property
    def is_main(self) -> bool:
        return self.rank == 0

    @property
    def device(self) -> torch.device:
        return self.accelerator.device

    def sum(self, tensor: torch.Tensor) -> torch.Tensor:
        """The tensor added up over all processes, on the device it came from."""
        if self.count == 1:
            return tensor
        total = tensor.detach().cpu().clone()
        dist.all_reduce(total, group=self._group)
        return total.to(tensor.device)

    def maximum(self, values: list[int]) -> list[int]:
        """The largest of each value over all processes."""
        if self.count == 1:
            return values
        tensor = torch.tensor(values, dtype=torch.int64)
        dist.all_reduce(tensor, op=dist.ReduceOp.MAX, group=self._group)
        return tensor.tolist()

    def text_of_main(self, text: str) -> str:
        """The main process's text, on every process."""
        if self.count == 1:
            return text
        content = text.encode()
        length = torch.tensor([len(content)])
        dist.broadcast(length, 0, group=self._group)
        data = torch.zeros(int(length), dtype=torch.uint8)
        if self.is_main:
            data = torch.tensor(list(content), dtype=torch.uint8)
        dist.broadcast(data, 0, group=self._group)
        return bytes(data.tolist()).decode()

    def texts_of_all(self, text: str) -> list[str]:
        """Every process's text, in the order of ranks, on every process."""
        content = text.encode()
        (length,) = self.maximum([len(content)])
        mine = torch.tensor(list(content.ljust(length)), dtype=torch.uint8)
        found = [torch.zeros_like(mine) for _ in range(self.count)]
        dist.all_gather(found, mine, group=self._group)
        return [bytes(data.tolist()).decode().rstrip() for data in found]

    def same_everywhere(self, text: str) -> list[int]:
        """Ranks whose text differs from the main process's."""
        other = int(self.text_of_main(text) != text)
        flags = torch.zeros(self.count, dtype=torch.int64)
        flags[self.rank] = other
        return torch.nonzero(self.sum(flags)).flatten().tolist()

    def on_main(self, action: Callable[[], None]) -> None:
        """Do something on the main process alone; every process must call it.

        Raises:
            UserError: on every process, where the main one failed with it.
        """
        error = ""
        if self.is_main:
            try:
                action()
            except UserError as raised:
                error = str(raised)
        error = self.text_of_main(error)
        if error:
            raise UserError(error)

    def wait(self) -> None:
        """Return when every process is here."""
        if self.count > 1:
            dist.barrier(group=self._group)


def start_processes(
    *,
    amp: bool = False,
    amp_dtype: str = "float16",
    broadcast_buffers: bool = True,
    expected: int | None = None,
    device: str | None = None,
    timeout: int = TIMEOUT,
) -> Processes:
    """Join the other processes of this launch.

    Args:
        amp: mixed precision; without it the launcher's own setting holds.
        amp_dtype: "float16" or "bfloat16".
        broadcast_buffers: of DistributedDataParallel.
        expected: how many processes must be running, or None.
        device: "cpu", "cuda", "cuda:1", ...; None for Accelerate's choice.
        timeout: seconds that a process waits for another one before its collective fails.

    Raises:
        UserError: more processes were asked for than run, float16 without an accelerator that has it, or a device that
            is not there.
    """
    handlers = [
        DistributedDataParallelKwargs(broadcast_buffers=broadcast_buffers),
        InitProcessGroupKwargs(timeout=datetime.timedelta(seconds=timeout)),
    ]
    precision = {"float16": "fp16", "bfloat16": "bf16"}[amp_dtype] if amp else None
    _choose_device(device)
    try:
        accelerator = Accelerator(mixed_precision=precision, kwargs_handlers=handlers, cpu=device == "cpu")
    except ValueError as error:
        raise UserError(f"--amp-dtype {amp_dtype}: {error}".replace("\n", " ")) from None
    processes = Processes(accelerator, timeout)
    if processes.count > 1:
        global _peers
        _peers = Peers(processes.rank, processes.texts_of_all)
    _check_device(device, processes)
    set_threads(processes.device)
    asked = expected or processes_asked_for()
    if asked and asked > processes.count:
        raise UserError(
            f"{asked} processes were asked for, {processes.count} started; on CPUs start them with "
            f"'ACCELERATE_USE_CPU=true torchrun --nproc_per_node {asked} {script_for_launchers()} ...'"
        )
    return processes


def _choose_device(name: str | None) -> None:
    """Make a device with a number the current one, which is what a single process trains on."""
    if name is None:
        return
    try:
        torch.empty(0, device=name)
    except (RuntimeError, AssertionError, NotImplementedError) as error:
        raise UserError(f"--device {name}: {one_line(error)}") from None
    if torch.device(name).index is not None and torch.device(name).type != "cpu":
        torch.accelerator.set_device_index(torch.device(name).index)


def _check_device(name: str | None, processes: Processes) -> None:
    if name is None:
        return
    if processes.count > 1 and torch.device(name).index is not None:
        raise UserError(f"--device {name}: each of {processes.count} processes takes the device of its rank")
    if processes.device.type != torch.device(name).type:
        raise UserError(f"--device {name}: Accelerate was set to {processes.device.type}")


def end_processes() -> None:
    """Leave the group, so that no process warns of another that has gone."""
    if PartialState._shared_state and dist.is_initialized():
        dist.destroy_process_group()


def run_command(main: Callable[[], int]) -> NoReturn:
    """Run a command's main function as `run_main` does, leave the processes' group, and exit with its code."""
    code = run_main(main)
    if code == EXIT_LOST_PEER:  # leaving the group would wait for the peer
        sys.stdout.flush()
        os._exit(code)
    end_processes()
    sys.exit(code)
