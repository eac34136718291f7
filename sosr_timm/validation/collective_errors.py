"""Make an error of one process an error of all, so that none waits for a process that has failed."""

from __future__ import annotations

from collections.abc import Callable
from typing import TypeVar

import torch

from sosr_timm.distributed.processes import Processes
from sosr_timm.errors import UserError

Result = TypeVar("Result")
FINE, NO_MEMORY, FAILED = 0, 1, 2


class FailedElsewhere(UserError):
    """Another process failed and has printed why.

    Args:
        out_of_memory: it ran out of memory.
    """

    def __init__(self, out_of_memory: bool):
        super().__init__(f"another process {'ran out of memory' if out_of_memory else 'failed and has printed why'}")
        self.out_of_memory = out_of_memory


def is_out_of_memory(error: BaseException) -> bool:
    """Whether an error says that memory ran out, of an accelerator or of this machine, here or in another process."""
    if isinstance(error, FailedElsewhere):
        return error.out_of_memory
    return isinstance(error, torch.OutOfMemoryError) or (
        isinstance(error, RuntimeError) and "can't allocate memory" in str(error)
    )


def together(processes: Processes, action: Callable[[], Result]) -> Result:
    """Run an action on every process and return its result.

    Raises:
        FailedElsewhere: it failed, but not here.
        Exception: what it raised here.
    """
    failure, result, code = None, None, FINE
    try:
        result = action()
    except Exception as error:
        failure, code = error, NO_MEMORY if is_out_of_memory(error) else FAILED
    (worst,) = processes.maximum([code])
    if failure is not None and code == worst:
        raise failure
    if worst != FINE:
        raise FailedElsewhere(worst == NO_MEMORY)
    return result
