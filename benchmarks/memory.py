"""How much memory a loss needs on the CPU, by the profiler's allocations in order."""

from __future__ import annotations

from collections.abc import Callable

from torch import Tensor
from torch.profiler import ProfilerActivity, profile

from sosr_timm.kernels.scratch import KEPT


def peak_bytes(loss: Callable[[Tensor, Tensor], Tensor], logits: Tensor, target: Tensor) -> int:
    """Most bytes in use at once, beyond what there was before, while a loss goes forward and backward."""
    KEPT.__dict__.clear()  # so that working memory which a kernel keeps counts too
    with profile(activities=[ProfilerActivity.CPU], profile_memory=True) as profiler:
        loss(logits, target).backward()
    events = [event for event in profiler.profiler.kineto_results.events() if event.name() == "[memory]"]
    in_use = most = 0
    for event in sorted(events, key=lambda event: event.start_ns()):
        in_use += event.nbytes()
        most = max(most, in_use)
    return most
