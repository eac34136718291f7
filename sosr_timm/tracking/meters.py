"""Sums of the loss and its parts over steps, kept on the device until they are read."""

from __future__ import annotations

from collections.abc import Callable

import torch
from torch import Tensor


class Meters:
    """Means since the last line of the log, and means since the start of the epoch.

    Adding costs no wait for the device; reading costs one.

    Args:
        names: of the parts, in order; "loss" comes before them.
    """

    def __init__(self, names: tuple[str, ...], device: torch.device):
        self.names = ("loss", *names)
        dtype = torch.float32 if device.type == "mps" else torch.float64
        self.interval = torch.zeros(len(self.names), dtype=dtype, device=device)
        self.interval_count = 0
        self.epoch = [0.0] * len(self.names)
        self.epoch_count = 0

    def add(self, loss: Tensor, parts: dict[str, Tensor]) -> None:
        """One batch: its loss and the parts of it, scalars on the device."""
        values = [loss.detach(), *(parts[name] for name in self.names[1:])]
        self.interval += torch.stack([value.to(self.interval.dtype) for value in values])
        self.interval_count += 1

    def forget_last(self, count: int) -> None:
        """The last batches did not count; their sums were taken back already."""
        self.interval_count -= count

    def read_interval(self, sum_over_ranks: Callable[[Tensor], Tensor], processes: int) -> dict[str, float]:
        """Means over the batches of all processes since the last reading, which become part of the epoch's."""
        sums = sum_over_ranks(self.interval).tolist()
        count = self.interval_count * processes
        self.epoch = [total + part for total, part in zip(self.epoch, sums, strict=True)]
        self.epoch_count += count
        self.interval.zero_()
        self.interval_count = 0
        return {name: value / max(1, count) for name, value in zip(self.names, sums, strict=True)}

    def read_epoch(self) -> dict[str, float]:
        """Means over the epoch, which starts anew; read the last interval first."""
        means = {name: value / max(1, self.epoch_count) for name, value in zip(self.names, self.epoch, strict=True)}
        self.epoch, self.epoch_count = [0.0] * len(self.names), 0
        return means

    def state_dict(self) -> dict:
        return {
            "interval": self.interval.clone(),
            "interval_count": self.interval_count,
            "epoch": list(self.epoch),
            "epoch_count": self.epoch_count,
        }

    def load_state_dict(self, state: dict) -> None:
        self.interval.copy_(state["interval"])
        self.interval_count = state["interval_count"]
        self.epoch, self.epoch_count = list(state["epoch"]), state["epoch_count"]
