"""Batches made ahead on a stream of their own: order, waiting and memory, on streams that only take notes."""

import contextlib

import pytest
import torch

from sosr_timm.data.loaders.prefetch import SideStream, ahead, run_ahead


class Note(torch.Tensor):
    """A tensor that notes which stream it is kept for."""

    def record_stream(self, stream):
        stream.kept.append(self.item())


class Stream:
    """Counts what is launched on it; an event is that count."""

    def __init__(self, name):
        self.name, self.launched, self.waited, self.kept = name, 0, [], []

    def wait_stream(self, other):
        self.waited.append(other.name)

    def record_event(self):
        return self.launched

    def wait_event(self, event):
        self.waited.append(event)


class Cuda:
    """What SideStream uses of torch.cuda; anything else, a wait of the host for instance, is an AttributeError."""

    def __init__(self):
        self.training, self.side = Stream("training"), None
        self.now = self.training

    def Stream(self, device):
        self.side = Stream("side")
        return self.side

    def current_stream(self, device):
        return self.now

    @contextlib.contextmanager
    def stream(self, stream):
        before, self.now = self.now, stream
        yield
        self.now = before


@pytest.mark.parametrize("depth", [0, 1, 2, 3])
def test_each_batch_is_made_ahead_waited_for_and_kept(depth):
    cuda, made_on = Cuda(), []

    def make():
        for number in range(6):
            cuda.now.launched += 1
            made_on.append(cuda.now.name)
            yield (number, torch.tensor(float(number)).as_subclass(Note), ())

    side = SideStream(torch.device("cuda"), cuda)
    seen = []
    for (number, *_), event in run_ahead(side.make(make()), side.hand_over, depth):
        seen.append(number)
        assert len(made_on) == min(6, number + 1 + depth)
        assert event == number + 1, "the event comes right after the batch's own work"
        assert cuda.training.waited == [made + 1 for made in seen], "the training stream waits for it, and in time"
        assert cuda.now is cuda.training
    assert seen == list(range(6)) and set(made_on) == {"side"}
    assert cuda.side.waited == ["training"] and cuda.training.kept == [float(number) for number in range(6)]


def test_elsewhere_a_batch_is_made_when_it_is_asked_for():
    made = []
    stream = ahead((made.append(number) or (number,) for number in range(3)), torch.device("cpu"))
    assert next(stream) == (0,) and made == [0]
    assert list(stream) == [(1,), (2,)]


@pytest.mark.skipif(not torch.cuda.is_available(), reason="needs a GPU")
def test_on_a_gpu_the_items_are_the_same_and_the_host_never_waits():
    device = torch.device("cuda")
    source = torch.randn(50, 1000, device=device)
    expected = [source[number] * 2 for number in range(50)]
    torch.cuda.synchronize()
    torch.cuda.set_sync_debug_mode("error")
    try:
        found = [(item * 1.0,) for (item,) in ahead(((source[number] * 2,) for number in range(50)), device)]
    finally:
        torch.cuda.set_sync_debug_mode("default")
    assert all(torch.equal(one, two) for (one,), two in zip(found, expected, strict=True))
