"""Batches for a GPU, made some steps ahead on a stream of their own."""

from __future__ import annotations

from collections import deque
from collections.abc import Callable, Iterator
from types import ModuleType
from typing import Any, TypeVar

import torch
from torch import Tensor

Made = TypeVar("Made")
DEPTH = 2  # batches that are on their way while one is in use


def run_ahead(made: Iterator[Made], hand_over: Callable[[Made], Made], depth: int) -> Iterator[Made]:
    """The same items in the same order; `depth` more of them have been taken from `made` when one is handed over."""
    waiting: deque[Made] = deque()
    for item in made:
        waiting.append(item)
        if len(waiting) > depth:
            yield hand_over(waiting.popleft())
    while waiting:
        yield hand_over(waiting.popleft())


class SideStream:
    """A second stream beside the training stream: its batches are made without waiting for training.

    The host never waits. A batch comes with an event, and the training stream waits for that event on the device; the
    memory of the batch is given back only after the training stream is through with it.

    Args:
        device: a CUDA device.
        cuda: `torch.cuda`, or a replacement in tests.
    """

    def __init__(self, device: torch.device, cuda: ModuleType | Any = torch.cuda):
        self.cuda, self.device = cuda, device
        self.stream = cuda.Stream(device)
        self.stream.wait_stream(cuda.current_stream(device))  # the images were put there by the training stream

    def make(self, made: Iterator[tuple]) -> Iterator[tuple[tuple, Any]]:
        """Items of `made`, each with the event that says it is there."""
        while True:
            with self.cuda.stream(self.stream):
                item = next(made, None)
                event = self.stream.record_event()
            if item is None:
                return
            yield item, event

    def hand_over(self, pair: tuple[tuple, Any]) -> tuple[tuple, Any]:
        """Let the training stream wait for the item, and keep the item's memory as long as that stream needs it."""
        item, event = pair
        training = self.cuda.current_stream(self.device)
        training.wait_event(event)
        for part in item:
            if isinstance(part, Tensor):
                part.record_stream(training)
        return pair


def ahead(made: Iterator[Made], device: torch.device, depth: int = DEPTH) -> Iterator[Made]:
    """On a CUDA device the items some steps ahead, on a stream of their own; elsewhere each when it is asked for.

    Args:
        made: tuples with tensors, launched on the current stream when asked for.
        device: that makes them.
        depth: how many are on their way beside the one in use.
    """
    if device.type != "cuda":
        return run_ahead(made, lambda item: item, 0)
    side = SideStream(device)
    return (item for item, _ in run_ahead(side.make(made), side.hand_over, depth))
