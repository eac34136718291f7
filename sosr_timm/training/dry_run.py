"""--dry-run: what a training run would do, and two real updates of it, with nothing written."""

from __future__ import annotations

import time
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path

import torch
from torch import Tensor
from torch.autograd.graph import saved_tensors_hooks

from sosr_timm.checkpoints.run_folder import RunFolder
from sosr_timm.data.loaders.device_loader import DeviceTrainingBatches
from sosr_timm.distributed.processes import Processes
from sosr_timm.errors import UserError
from sosr_timm.options.load import Loaded
from sosr_timm.options.train import TrainOptions
from sosr_timm.text import counted, duration
from sosr_timm.tracking.console import logger, show_facts
from sosr_timm.training.advice import advising
from sosr_timm.training.build import build_run
from sosr_timm.training.evaluate import evaluate
from sosr_timm.training.loop import train_update
from sosr_timm.training.plan import facts_of, learning_rates
from sosr_timm.training.run import Run

UPDATES = 2


def dry_run(loaded: Loaded[TrainOptions], processes: Processes) -> int:
    """Print the plan of a run, make two updates and evaluate one batch.

    Returns:
        the exit code, 0.

    Raises:
        UserError: whatever would end the run at its start; --resume, which has a plan already.
    """
    options = loaded.options
    if options.run.resume:
        raise UserError("--dry-run plans a new run: leave --resume out")
    run = build_run(options, processes, RunFolder(Path(options.run.output)))
    show_facts({**facts_of(run), "learning rate": learning_rates(run)}, "plan")
    with advising(run):
        saved, seconds, losses = try_updates(run)
    sizes = memory_of(run, saved)
    rows = {name: megabytes(size) for name, size in sizes.items()}
    rows["together"] = megabytes(sum(sizes.values()))
    peak = peak_on_device(processes.device)
    if peak is not None:
        rows["peak on the device, measured"] = megabytes(peak)
    show_facts(rows, f"memory of one process at --batch-size {options.optimizer.batch_size}")
    show_facts(timing_of(run, seconds, losses), counted(UPDATES, "update"))
    logger.info("dry run: nothing was written")
    return 0


def try_updates(run: Run) -> tuple[Saved, list[float], list[float]]:
    """Two real updates and an evaluation of a batch.

    Returns:
        what the first forward pass saved, seconds of each update, the mean loss of each.
    """
    run.loss.set_progress(0.0)
    run.task.train()
    batches, seconds, losses = run.batches(), [], []
    saved = Saved()
    for _ in range(min(UPDATES, run.updates_per_epoch)):
        started = time.perf_counter()
        run.schedule.set(0, run.progress.update)
        if run.progress.update == 0:
            with count_saved([*run.model.parameters(), *run.model.buffers()]) as saved:
                train_update(run, batches)
        else:
            train_update(run, batches)
        run.progress.update += 1
        means = run.meters.read_interval(run.processes.sum, run.processes.count)
        run.guard.check(run.step, run.lr, means)
        losses.append(means["loss"])
        seconds.append(time.perf_counter() - started)
    if run.evaluation is not None:
        one_batch = iter([False])
        evaluate(
            run.model,
            run.evaluation_loader,
            run.evaluation,
            run.processes,
            channels_last=run.options.model.channels_last,
            stop=lambda: next(one_batch, True),
        )
    return saved, seconds, losses


def timing_of(run: Run, seconds: list[float], losses: list[float]) -> dict[str, str]:
    """What two updates say of the run's time."""
    samples = run.order.global_batch * run.batches_of(0)
    whole = seconds[-1] * run.updates_per_epoch * run.epochs
    return {
        "loss": ", ".join(f"{value:.4g}" for value in losses),
        "seconds": ", ".join(f"{value:.3g}" for value in seconds) + " (the first one warms up)",
        "speed": f"{samples / seconds[-1]:,.0f} images/s in the last one: {duration(whole)} of training",
    }


def megabytes(size: int) -> str:
    return f"{size / 1e6:,.1f} MB"


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
        "EMA": 0 if run.ema is None else bytes_of(run.ema.state_dict().values()),
        "saved for the backward pass": saved.bytes,
    }
    if isinstance(run.training, DeviceTrainingBatches):
        parts["training images"] = bytes_of([run.training.images.images])
    return {name: size for name, size in parts.items() if size}


def peak_on_device(device: torch.device) -> int | None:
    """The most bytes that tensors took on a CUDA device so far; None elsewhere, where nobody counts."""
    return torch.cuda.max_memory_allocated(device) if device.type == "cuda" else None
