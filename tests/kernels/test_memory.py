"""What the CPU kernel allocates: the gradient and blocks, nothing that grows with the batch."""

import pytest
from torch.profiler import ProfilerActivity, profile

from sosr_timm.kernels import use_kernel
from sosr_timm.kernels.scratch import KEPT
from sosr_timm.losses import create_loss
from tests.kernels.cases import SPECS, make_batch


def peak(spec, logits, target):
    """Most bytes in use at once beyond what there was before, by the profiler's allocations in order."""
    loss = create_loss(spec)
    KEPT.__dict__.clear()
    with profile(activities=[ProfilerActivity.CPU], profile_memory=True) as profiler:
        loss(logits, target).backward()
    events = [event for event in profiler.profiler.kineto_results.events() if event.name() == "[memory]"]
    in_use = most = 0
    for event in sorted(events, key=lambda event: event.start_ns()):
        in_use += event.nbytes()
        most = max(most, in_use)
    return most


@pytest.mark.parametrize("spec", [spec for spec in SPECS if "ols" not in spec])
def test_nothing_as_large_as_the_logits_beside_the_gradient(spec, monkeypatch):
    monkeypatch.setattr("sosr_timm.kernels.cpu.BLOCK", 10_000)
    logits, index, dense = make_batch(1000, 500)
    matrix = logits.nbytes
    for target in (index, dense):
        beyond = peak(spec, logits.clone().requires_grad_(), target) - matrix
        assert 0 <= beyond < 0.2 * matrix
        with use_kernel("plain"):
            assert peak(spec, logits.clone().requires_grad_(), target) > 1.5 * matrix, "the measurement sees nothing"
