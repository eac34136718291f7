"""The epochs of a loss in any training loop: its schedule, its soft labels, its state in the checkpoint."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from contextlib import contextmanager

import torch
from torch import Tensor, nn

from sosr_timm.integrations.processes import process_rank, sum_over_processes
from sosr_timm.losses import ComposedLoss

ENDED = "epochs_ended"


class LossEpochs:
    """Calls `set_progress` and `end_epoch` at the right moments, over all processes, and saves and restores the loss.

        epochs = LossEpochs(loss, 90)
        for epoch in range(90):
            with epochs.epoch(epoch):
                for images, target in loader:
                    ...
            torch.save({"model": model.state_dict(), "loss": epochs.state_dict()}, "checkpoint.pt")

    Keep the loss outside DistributedDataParallel, which copies the buffers of the first process to all others before
    every batch and so overwrites the sums of OLS.

    Args:
        loss: from `create_loss`, compiled or not, or a module that contains such losses.
        epochs: number of epochs of the training; None if it is not known. Then give `start` the progress, or schedules
            keep their first value.

    Raises:
        ValueError: the module contains no loss of this package.
    """

    def __init__(self, loss: nn.Module, epochs: int | None = None):
        self.losses = losses_in(loss)
        if not self.losses:
            raise ValueError(f"{type(loss).__name__} contains no loss made by create_loss")
        self.epochs = epochs
        self.ended: int | None = None  # number of epochs that have ended; None before the first start

    @contextmanager
    def epoch(self, epoch: int) -> Iterator[None]:
        """Context of one epoch of training, counted from 0. The epoch ends unless an exception leaves the block."""
        self.start(epoch)
        yield
        self.end(epoch)

    def start(self, epoch: int, progress: float | None = None) -> None:
        """Begin or resume an epoch.

        Args:
            epoch: counted from 0.
            progress: share of the training that is done, in [0, 1]; None for epoch / (epochs - 1).
        """
        if self.ended is not None and self.ended < epoch:
            self.end(epoch - 1)  # the state was saved between the last batch of that epoch and its end
        self.ended = epoch if self.ended is None else self.ended
        if progress is None and self.epochs is not None:
            progress = min(1.0, epoch / max(1, self.epochs - 1))
        if progress is not None:
            for loss in self.losses.values():
                loss.set_progress(progress)
                loss.reminder = None  # the epoch will be ended, however many evaluations come before

    def end(self, epoch: int) -> None:
        """End an epoch. Every process must call this. A second call for the same epoch has no effect."""
        if self.ended is not None and self.ended > epoch:
            return
        for loss in self.losses.values():
            loss.end_epoch(sum_over_processes)
        self.ended = epoch + 1

    def state_dict(self) -> dict[str, Tensor]:
        """State of the losses, with the counts of all processes added up. Every process must call this.

        Returns:
            tensors by name, the same in every process, so one process can save them.
        """
        state = {ENDED: torch.tensor(-1 if self.ended is None else self.ended)}
        for prefix, loss in self.losses.items():
            additive = loss.additive_state
            for name, tensor in loss.state_dict().items():
                total = sum_over_processes(tensor) if name in additive else tensor
                state[prefix + name] = total.detach().clone()
        return state

    def load_state_dict(self, state: Mapping[str, Tensor]) -> None:
        """Restore a state, with any number of processes. The first process gets the counts.

        Raises:
            ValueError: the state belongs to other losses.
        """
        if ENDED not in state:
            raise ValueError("the state was not saved by LossEpochs.state_dict()")
        for prefix, loss in self.losses.items():
            own = {name[len(prefix) :]: state[name] for name in state if name != ENDED and name.startswith(prefix)}
            try:
                loss.load_state_dict(own)
            except RuntimeError as error:
                reason = " ".join(str(error).split())
                raise ValueError(
                    f"the checkpoint was saved with another loss than {loss.full_form}: {reason}"
                ) from None
        if process_rank():
            self.forget_counts()
        ended = int(state[ENDED])
        self.ended = None if ended < 0 else ended

    def forget_counts(self) -> None:
        """Discard what this process has counted since the last epoch ended."""
        for loss in self.losses.values():
            state = loss.state_dict()
            for name in set(loss.additive_state) & set(state):
                state[name].zero_()


def losses_in(module: nn.Module) -> dict[str, ComposedLoss]:
    """Find the losses of this package in a module, by the prefix of their state, which is "" for the module itself."""
    found = {name: part for name, part in module.named_modules() if isinstance(part, ComposedLoss)}
    # torch.compile wraps the loss in a module of its own; a state fits both.
    names = {name: ".".join(word for word in name.split(".") if word and word != "_orig_mod") for name in found}
    return {f"{names[name]}." if names[name] else "": loss for name, loss in found.items()}
