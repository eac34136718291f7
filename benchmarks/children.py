"""Measurements in processes of their own, so that the memory of one does not count for the next."""

from __future__ import annotations

import multiprocessing
import os
from collections.abc import Callable
from pathlib import Path
from typing import Any

import psutil


def in_child(work: Callable[..., dict[str, Any]], *arguments: Any) -> dict[str, Any]:
    """What `work` returns in a forked process, with `peak_bytes`: its memory at most, beyond what it began with.

    Raises:
        RuntimeError: the process failed.
    """
    context = multiprocessing.get_context("fork")
    receiver, sender = context.Pipe(duplex=False)
    child = context.Process(target=_measured, args=(sender, work, arguments))
    child.start()
    sender.close()
    try:
        found = receiver.recv()
    except EOFError:
        found = {}
    child.join()
    if "error" in found or not found:
        raise RuntimeError(found.get("error", f"a process of the benchmark ended with code {child.exitcode}"))
    return found


def _measured(sender: Any, work: Callable[..., dict[str, Any]], arguments: tuple) -> None:
    try:
        Path("/proc/self/clear_refs").write_text("5")  # forget the peak of the memory
        before = psutil.Process().memory_info().rss
        found = work(*arguments)
        sender.send({**found, "peak_bytes": max(0, _peak() - before)})
    except BaseException as error:
        sender.send({"error": f"{type(error).__name__}: {error}"})
    finally:
        sender.close()
        os._exit(0)


def _peak() -> int:
    lines = Path("/proc/self/status").read_text().splitlines()
    return next(1024 * int(line.split()[1]) for line in lines if line.startswith("VmHWM"))


def load() -> float:
    """Processes that wanted a core over the last minute."""
    return round(os.getloadavg()[0], 2)
