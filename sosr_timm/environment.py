"""The environment of a result: hardware, versions, commit."""

from __future__ import annotations

import os
import platform
import re
import subprocess
from importlib import metadata
from pathlib import Path
from typing import Any

PACKAGES = ("torch", "torchvision", "timm", "accelerate", "numpy", "safetensors")


def environment() -> dict[str, Any]:
    """Hardware and versions, for results, checkpoints and benchmarks; everything JSON can hold.

    Returns:
        `cpu` (model), `cores` (usable by this process), `gpus` (names), `threads` (torch's), `cuda`, `platform`,
        `python`, `sosr_timm`, the version of each of `PACKAGES` (None where not installed) and `commit` (of this
        package's checkout, `-dirty` where changed, None without one).
    """
    import torch

    import sosr_timm

    return {
        "cpu": _cpu_model(),
        "cores": usable_cores(),
        "threads": torch.get_num_threads(),
        "gpus": [torch.cuda.get_device_name(index) for index in range(torch.cuda.device_count())],
        "cuda": torch.version.cuda if torch.cuda.is_available() else None,
        "platform": platform.platform(),
        "python": platform.python_version(),
        "sosr_timm": sosr_timm.__version__,
        **{package: _version(package) for package in PACKAGES},
        "commit": _commit(),
    }


def usable_cores() -> int:
    """The logical CPU cores that this process may run on."""
    return len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1


def _version(package: str) -> str | None:
    try:
        return metadata.version(package)
    except metadata.PackageNotFoundError:
        return None


def _cpu_model() -> str:
    try:
        text = Path("/proc/cpuinfo").read_text()
    except OSError:
        text = ""
    found = re.search(r"^model name\s*:\s*(.+)$", text, flags=re.MULTILINE)
    return found[1] if found else platform.processor() or platform.machine()


def _commit() -> str | None:
    """The commit of the checkout this file is tracked in; a package installed inside some other checkout has none."""

    def git(*arguments: str) -> str:
        command = ["git", "-C", str(Path(__file__).parent), *arguments]
        return subprocess.run(command, capture_output=True, text=True, check=True, timeout=30).stdout.strip()

    try:
        git("ls-files", "--error-unmatch", Path(__file__).name)
        return git("describe", "--always", "--dirty", "--abbrev=40", "--exclude=*")
    except (OSError, subprocess.SubprocessError):
        return None
