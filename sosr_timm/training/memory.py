"""What a run keeps in memory: weights, gradients, optimizer, and what a forward pass saves for the backward pass."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field

import torch
from torch import Tensor
from torch.autograd.graph import saved_tensors_hooks

from sosr_timm.data.loaders.device_loader import DeviceTrainingBatches
from sosr_timm.training.run import Run


@dataclass
class Saved:
    """Bytes of the tensors that a forward pass saved, each storage counted once.

    Attributes:
        storages: address -> bytes.
    """

    storages: dict[int, int] = field(default_factory=dict)

    @property
    def bytes(self) -> int:
        return sum(self.storages.values())


@contextmanager
def count_saved(known: Iterable[Tensor]) -> Iterator[Saved]:
    """Count what autograd saves inside, without the tensors in `known` (the weights).

    A compiled network is counted as its compiler keeps it.
    """
    saved = Saved()
    skip = {tensor.untyped_storage().data_ptr() for tensor in known}

    def pack(tensor: Tensor) -> Tensor:
        storage = tensor.untyped_storage()
        if storage.data_ptr() not in skip:
            saved.storages[storage.data_ptr()] = storage.nbytes()
        return tensor

    with saved_tensors_hooks(pack, lambda tensor: tensor):
        yield saved


def bytes_of(tensors: Iterable[Tensor | None]) -> int:
    """Bytes of the tensors, without those that are None."""
    return sum(tensor.numel() * tensor.element_size() for tensor in tensors if tensor is not None)


def memory_of(run: Run, saved: Saved) -> dict[str, int]:
    """Bytes by what they are for, on one process, after an update.

    Args:
        run: after its first update, so that the optimizer has its state.
        saved: counted in the forward pass of one batch.
    """
    parameters = list(run.task.get_trainable_module().parameters())
    state = [value for entry in run.optimizer.state.values() for value in entry.values() if isinstance(value, Tensor)]
    parts = {
        "weights": bytes_of(parameters) + bytes_of(run.model.buffers()),
        "gradients": bytes_of(parameter for parameter in parameters if parameter.requires_grad),
        "optimizer": bytes_of(state),
        "average of weights": 0 if run.ema is None else bytes_of(run.ema.state_dict().values()),
        "saved for the backward pass": saved.bytes,
    }
    if isinstance(run.training, DeviceTrainingBatches):
        parts["training images"] = bytes_of([run.training.images.images])
    return {name: size for name, size in parts.items() if size}


def peak_on_device(device: torch.device) -> int | None:
    """The most bytes that tensors took on a CUDA device so far; None elsewhere, where nobody counts."""
    return torch.cuda.max_memory_allocated(device) if device.type == "cuda" else None
