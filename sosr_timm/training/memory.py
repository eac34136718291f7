"""Memory of a training process: what a run will need, found by a forward pass of two samples, and what there is."""

from __future__ import annotations

import copy
from collections import defaultdict
from collections.abc import Iterable, Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass, field
from pathlib import Path

import psutil
import torch
from torch import Tensor
from torch.autograd.graph import saved_tensors_hooks

from sosr_timm.data.loaders.device_loader import DeviceTrainingBatches
from sosr_timm.distributed.threads import local_processes
from sosr_timm.setup.transforms import formats
from sosr_timm.training.evaluate import to_device
from sosr_timm.training.run import Run

SAMPLES = 2  # the fewest that batch norm takes where a feature map is one pixel
# Working memory of the layers, and what the allocator cannot use. On a CPU, models of 300 MB to 1 GB took 1.16 to 1.24
# times the estimate.
MARGIN = 1.25
SAVED = "saved for the backward pass"
CGROUPS = (
    ("/sys/fs/cgroup/memory.max", "/sys/fs/cgroup/memory.current"),
    ("/sys/fs/cgroup/memory/memory.limit_in_bytes", "/sys/fs/cgroup/memory/memory.usage_in_bytes"),
)


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

    A compiled model is counted as its compiler keeps it.
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


@dataclass
class Estimate:
    """Bytes that a process will need for its first updates.

    Attributes:
        present: by what they are for, of what is in memory already.
        fixed: of what does not depend on the batch size.
        per_sample: of what each sample of a batch adds.
        batch: samples of the largest batch.
    """

    present: dict[str, int]
    fixed: dict[str, int]
    per_sample: dict[str, float]
    batch: int

    def rows(self) -> dict[str, int]:
        """Everything, by what it is for."""
        of_batch = {name: int(size * self.batch) for name, size in self.per_sample.items()}
        return {name: size for name, size in (self.present | self.fixed | of_batch).items() if size}

    def needed(self) -> int:
        """Bytes still to be allocated."""
        return int(MARGIN * (sum(self.fixed.values()) + self.batch * sum(self.per_sample.values())))

    def batch_that_fits(self, available: int) -> int:
        """The largest batch for which `available` bytes are enough; 0 where not one sample fits."""
        room = available / MARGIN - sum(self.fixed.values())
        return max(0, int(room / max(sum(self.per_sample.values()), 1)))


def estimate_memory(run: Run) -> Estimate:
    """What the updates of a run will need; the state of the run stays as it is.

    Args:
        run: before its first update.
    """
    parameters = list(run.task.get_trainable_module().parameters())
    gradients = bytes_of(parameter for parameter in parameters if parameter.requires_grad)
    present = {
        "weights": bytes_of(parameters) + bytes_of(run.model.buffers()),
        "EMA": 0 if run.ema is None else bytes_of(run.ema.state_dict().values()),
    }
    if isinstance(run.training, DeviceTrainingBatches):
        present["training images"] = bytes_of([run.training.images.images])
    fixed = {
        "gradients": gradients,
        "buckets of gradients for the other processes": gradients if run.processes.count > 1 else 0,
        "optimizer": bytes_of_optimizer(run.optimizer.optimizer),
    }
    shape, batch = largest_batch(run)
    saved, images = _saved_per_sample(run, shape)
    per_sample = {SAVED: saved}
    if not isinstance(run.training, DeviceTrainingBatches) and run.processes.device.type == "cpu":
        per_sample["batches ahead of time"] = images * 2 * run.options.data.workers
    return Estimate(present, fixed, per_sample, batch)


def largest_batch(run: Run) -> tuple[tuple[int, int, int], int]:
    """Shape of the images and samples of a process's batch with the most pixels; views of an image count each."""
    shapes = [form.input_size for form in formats(run.image_format, run.options.sizes)]
    batches = [size // run.processes.count for size in run.order.sizes.sizes]
    shape, batch = max(zip(shapes, batches, strict=True), key=lambda pair: pair[1] * pair[0][1] * pair[0][2])
    return shape, batch * max(1, run.options.augmentation.aug_splits)


def _saved_per_sample(run: Run, shape: tuple[int, int, int]) -> tuple[float, float]:
    """Bytes that a forward pass saves for a sample, and those of its image."""
    model, device = run.model, run.processes.device
    count = SAMPLES * max(1, run.options.augmentation.aug_splits)
    images = to_device(torch.zeros(count, *shape), device, run.options.model.channels_last, run.dtype)
    before = [(buffer, buffer.clone()) for buffer in model.buffers()]
    was_training = model.training
    model.train()
    with count_saved([*model.parameters(), *model.buffers()]) as saved, run.processes.accelerator.autocast():
        output = model.forward(images)
    del output
    model.train(was_training)
    with torch.no_grad():
        for buffer, value in before:
            buffer.copy_(value)
    return saved.bytes / count, bytes_of([images]) / count


def bytes_of_optimizer(optimizer: torch.optim.Optimizer) -> int:
    """Bytes of the state that an optimizer will keep, found by a step on tensors without content.

    An optimizer that cannot do such a step is taken for one with two tensors for each parameter.
    """
    twin = copy.copy(optimizer)
    twin.state = defaultdict(dict)
    twin.param_groups = []
    for group in optimizer.param_groups:
        parameters = [parameter for parameter in group["params"] if parameter.requires_grad]
        twins = [torch.nn.Parameter(torch.empty_like(parameter, device="meta")) for parameter in parameters]
        for parameter in twins:
            parameter.grad = torch.empty_like(parameter)
        twin.param_groups.append(
            {**group, "params": twins, "fused": False} if "fused" in group else {**group, "params": twins}
        )
    try:
        with torch.no_grad():
            twin.step()
    except Exception:  # whatever an optimizer does that a tensor without content cannot
        return 2 * bytes_of(parameter for group in twin.param_groups for parameter in group["params"])
    state = [value for entry in twin.state.values() for value in entry.values() if isinstance(value, Tensor)]
    return bytes_of(state)


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
        "EMA": 0 if run.ema is None else bytes_of(run.ema.state_dict().values()),
        SAVED: saved.bytes,
    }
    if isinstance(run.training, DeviceTrainingBatches):
        parts["training images"] = bytes_of([run.training.images.images])
    return {name: size for name, size in parts.items() if size}


def available_memory(device: torch.device) -> int | None:
    """Bytes that this process can still allocate on a device; None where that is not known.

    On the CPU the processes of this machine share what is free, within the limits of the container.
    """
    if device.type == "cuda":
        unused = torch.cuda.memory_reserved(device) - torch.cuda.memory_allocated(device)
        return torch.cuda.mem_get_info(device)[0] + unused
    if device.type != "cpu":
        return None
    free = [psutil.virtual_memory().available, *(left for left in map(_left_in_cgroup, CGROUPS) if left is not None)]
    return max(0, min(free)) // local_processes()


def _left_in_cgroup(files: tuple[str, str]) -> int | None:
    """Bytes left below the limit of a container; None without a limit."""
    with suppress(OSError, ValueError):
        limit, used = (int(Path(file).read_text()) for file in files)
        return limit - used
    return None


def peak_on_device(device: torch.device) -> int | None:
    """The most bytes that tensors took on a CUDA device so far; None elsewhere, where torch does not count them."""
    return torch.cuda.max_memory_allocated(device) if device.type == "cuda" else None
