"""The order of the training data as a sampler for any DataLoader, which resumes at any batch."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sized

import numpy as np
import torch.distributed as dist
from torch.utils.data import Sampler

from sosr_timm.data.order.order import TrainingOrder
from sosr_timm.data.order.shuffle import Permutation


class ResumableSampler(Sampler[int]):
    """A random order of the samples that is a pure function of (seed, epoch, position).

    Used as `DataLoader(..., sampler=...)`, it replaces `RandomSampler` and `DistributedSampler` and gives the order of
    this package's own trainer: position i of an epoch belongs to process i modulo `num_replicas`. W processes with
    batches of B samples therefore make the same global batches as one process with batches of B * W, and a state saved
    by one number of processes continues on another.

    Loader processes request samples before they are used, so the training loop has to report its position:

        for epoch in range(sampler.epoch, epochs):
            sampler.set_epoch(epoch)
            for images, target in loader:
                ...
                sampler.advance(len(target))  # this batch is done: state_dict() continues with the next one

    A loader that saves its own position, such as torchdata's StatefulDataLoader, needs no `advance`.

    Args:
        data_source: the data set, or its number of samples.
        seed: of the orders, at least 0.
        num_replicas: number of processes that share the samples; None for those of torch.distributed. Use 1 with
            Accelerate and the Hugging Face Trainer, which distribute the batches themselves.
        rank: of this process; required if `num_replicas` is given and more than 1.
        drop_last: what happens to the up to `num_replicas` - 1 samples of an epoch that cannot be shared evenly. True
            leaves them out; False repeats the first samples of the epoch until every process has as many. A last batch
            that is not full is decided by the DataLoader's own `drop_last`; with both True, an epoch has the same
            samples for any number of processes at an equal global batch.

    Raises:
        ValueError: an empty data set, fewer samples than processes with `drop_last`, a negative seed, or a rank that
            does not exist.
    """

    def __init__(
        self,
        data_source: Sized | int,
        *,
        seed: int = 42,
        num_replicas: int | None = None,
        rank: int | None = None,
        drop_last: bool = True,
    ):
        if num_replicas == 1 and rank is None:
            rank = 0
        if (num_replicas is None) != (rank is None):
            raise ValueError(f"num_replicas and rank belong together, got {num_replicas} and {rank}")
        if num_replicas is not None and not 0 <= rank < num_replicas:
            raise ValueError(f"rank must be in [0, {num_replicas}), got {rank}")
        if seed < 0:
            raise ValueError(f"seed must be at least 0, got {seed}")
        self.num_samples = data_source if isinstance(data_source, int) else len(data_source)
        self.order = TrainingOrder(self.num_samples, 1, seed=seed)
        self.drop_last = drop_last
        self._num_replicas, self._rank = num_replicas, rank
        self.epoch = 0
        self.position = 0  # samples of the epoch that are done, over all processes
        self._advanced = False
        len(self)

    @property
    def num_replicas(self) -> int:
        """Number of processes, read at each use, because torch.distributed may start after the sampler is made."""
        return process_count() if self._num_replicas is None else self._num_replicas

    @property
    def rank(self) -> int:
        """Rank of this process."""
        if self._rank is not None:
            return self._rank
        return dist.get_rank() if process_count() > 1 else 0

    def __len__(self) -> int:
        """Number of samples of this process in a full epoch, also when the epoch is resumed.

        Raises:
            ValueError: fewer samples than processes with `drop_last`.
        """
        processes = self.num_replicas
        samples = self.num_samples // processes if self.drop_last else -(-self.num_samples // processes)
        if not samples:
            raise ValueError(f"{self.num_samples} samples cannot be shared by {processes} processes with drop_last")
        return samples

    def __iter__(self) -> Iterator[int]:
        if self._advanced:
            raise RuntimeError(
                f"epoch {self.epoch} is being iterated again: call set_epoch(epoch) on the sampler before each epoch"
            )
        return Positions(self)

    def indices(self, position: int) -> list[int]:
        """Samples of this process in the current epoch, from a position over all processes to the end."""
        total = len(self) * self.num_replicas
        return np.resize(self.order.permutation(self.epoch), total)[position + self.rank :: self.num_replicas].tolist()

    def set_epoch(self, epoch: int) -> None:
        """Go to the start of an epoch, or, if it is the epoch of a loaded state, to the saved position."""
        if epoch != self.epoch:
            self.epoch, self.position = epoch, 0
        self._advanced = False

    def advance(self, samples: int) -> None:
        """Report that every process has finished its next `samples` samples."""
        self.position = min(self.position + samples * self.num_replicas, len(self) * self.num_replicas)
        self._advanced = True

    def state_dict(self) -> dict[str, int | str]:
        """The epoch and the position in it; the same in every process."""
        state = {
            "num_samples": self.num_samples,
            "seed": self.order.seed,
            "epoch": self.epoch,
            "position": self.position,
        }
        # Earlier versions had nothing else than permutations and did not say so.
        return state if self._kind == Permutation.name else {**state, "order": self._kind}

    def load_state_dict(self, state: Mapping[str, int | str]) -> None:
        """Continue from a state that any number of processes saved.

        Raises:
            ValueError: the state belongs to another data set or seed, or its position is no multiple of the number of
                processes.
        """
        for name, own in (("num_samples", self.num_samples), ("seed", self.order.seed)):
            if state[name] != own:
                raise ValueError(f"the sampler's state was saved with {name}={state[name]}, this sampler has {own}")
        if state["position"] % self.num_replicas:
            raise ValueError(
                f"the sampler's state is at position {state['position']}, which {self.num_replicas} processes "
                "cannot share evenly: use a number of processes that divides the global batch"
            )
        if state.get("order", Permutation.name) != self._kind:
            raise ValueError(
                f"the sampler's state belongs to an order of the kind {state.get('order', Permutation.name)}, this "
                f"sampler has a {self._kind}: an earlier version kept permutations of any length"
            )
        self.epoch, self.position, self._advanced = state["epoch"], state["position"], False

    @property
    def _kind(self) -> str:
        return self.order.passes.shuffle.name


def process_count() -> int:
    """Number of processes of torch.distributed; 1 without it."""
    return dist.get_world_size() if dist.is_available() and dist.is_initialized() else 1


class Positions(Iterator[int]):
    """Iterator over the samples of an epoch; StatefulDataLoader saves its state with each batch."""

    def __init__(self, sampler: ResumableSampler):
        self.sampler = sampler
        self._start(sampler.position)

    def _start(self, position: int) -> None:
        self.first, self.given = position, 0
        self.remaining = self.sampler.indices(position)

    def __next__(self) -> int:
        if self.given == len(self.remaining):
            raise StopIteration
        self.given += 1
        return self.remaining[self.given - 1]

    def state_dict(self) -> dict[str, int]:
        return {"position": self.first + self.given * self.sampler.num_replicas}

    def load_state_dict(self, state: Mapping[str, int]) -> None:
        self._start(state["position"])
