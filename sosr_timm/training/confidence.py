"""What --record-confidence records: how many training samples are over-confident, how complex they are, the gradient.

These are figures 1 and 2 of the SOSR paper (Cheng et al. 2021, arXiv 2103.15383, sections 2.1 and 2.2).
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor

from sosr_timm.data.loaders.batch import Batch
from sosr_timm.data.order.order import EvaluationOrder
from sosr_timm.data.transforms.batch import to_device

THRESHOLDS = (0.5, 0.7, 0.9, 0.95, 0.99)
CLEAN = "clean"  # of --record-confidence: one more pass over the training images after each epoch


def columns_of(prefix: str = "") -> tuple[str, ...]:
    """Names of the counts and of the mean entropies of all thresholds."""
    return tuple(f"{prefix}{name}_{threshold:g}" for name in ("above", "entropy") for threshold in THRESHOLDS)


COLUMNS = ("epoch", "samples", *columns_of(), "gradient_norm", "clean_samples", *columns_of("clean_"))


@dataclass
class CleanImages:
    """The training images as an evaluation sees them.

    Attributes:
        order: of the batches.
        loader: of this process's batches.
    """

    order: EvaluationOrder
    loader: Iterable[Batch]


class ConfidenceRecord:
    """Sums over the training samples of an epoch, kept on the device until the epoch ends.

    y is the label that a sample's image has in the training set, also where Mixup or CutMix mixed the sample with
    another one, and p_y the probability of it in the training step's own forward pass. A sample counts for a threshold
    p where p_y > p. Its entropy is that of the stored image. With --aug-splits only the first view of an image counts.

    Args:
        mode: of --record-confidence; None records nothing.
        device: of the logits.
        gradient: of the loss at the logits, from logits and target: for a compiled step, whose own gradient cannot be
            seen. None: take autograd's own.
    """

    def __init__(
        self,
        mode: str | None = None,
        device: torch.device | str = "cpu",
        gradient: Callable[[Tensor, Tensor], Tensor] | None = None,
    ):
        self.mode, self.device, self.gradient = mode, torch.device(device), gradient
        dtype = torch.float32 if self.device.type == "mps" else torch.float64
        # Samples and entropies above each threshold, then all samples, then the norms of their gradients.
        self.sums = torch.zeros(2 * len(THRESHOLDS) + 2, dtype=dtype, device=device)
        self.thresholds = torch.tensor(THRESHOLDS, device=device)
        self.labels: Tensor | None = None
        self.one_and_entropy: Tensor | None = None

    @property
    def state(self) -> list[Tensor]:
        """What a training forward and backward pass change."""
        return [self.sums] if self.mode else []

    def start(self, entropies: Tensor) -> None:
        """Begin to record.

        Args:
            entropies: (N, 2) float64, entropy and label of each training image.
        """
        known = entropies.nan_to_num(nan=0.0)  # an image that cannot be read is in no batch
        self.labels = known[:, 1].long().to(self.device)
        columns = torch.stack([torch.ones(len(known), dtype=known.dtype), known[:, 0]], dim=1)
        self.one_and_entropy = columns.to(self.device, self.sums.dtype)

    def watch(self, batch: Batch, result: dict[str, Tensor], target: Tensor) -> None:
        """Add a batch to the sums; call it between the forward and the backward pass, which brings the gradient.

        Args:
            batch: with its positions in the data set.
            result: of timm's task: "loss", and the logits under "output".
            target: of the loss.
        """
        if self.labels is None:
            return
        rows, logits = len(batch.indices), result["output"]
        with torch.no_grad():
            self.sums[:-2] += self.above(logits[:rows], batch.indices).flatten()
            self.sums[-2] += rows
        if self.gradient is not None:
            with torch.no_grad():
                self._add_norms(self.gradient(logits, target), rows, 1.0)
            return
        incoming: list[Tensor] = []
        # Everything that multiplies the loss (loss scale, accumulation) is in the gradient that reaches the loss.
        result["loss"].register_hook(incoming.append)
        logits.register_hook(lambda gradient: self._add_norms(gradient, rows, incoming[0]))

    def above(self, logits: Tensor, indices: Sequence[int]) -> Tensor:
        """(2, P): how many samples are above each threshold, and the sum of their entropies.

        Args:
            logits: (M, K).
            indices: M positions in the data set.
        """
        index = to_device(torch.as_tensor(indices), self.device)
        values = logits.float() if logits.dtype in (torch.float16, torch.bfloat16) else logits
        label_logits = values.gather(1, self.labels[index].unsqueeze(1))
        probability = (label_logits - values.logsumexp(dim=1, keepdim=True)).exp()
        above = (probability > self.thresholds.to(values.dtype)).to(self.sums.dtype)
        return (self.one_and_entropy[index].unsqueeze(2) * above.unsqueeze(1)).sum(dim=0)

    def _add_norms(self, gradient: Tensor, rows: int, incoming: Tensor | float) -> None:
        """Add the norms of the samples' own gradients, which the mean over the batch divides by their number."""
        norms = torch.linalg.vector_norm(gradient[:rows], dim=1, dtype=torch.promote_types(gradient.dtype, torch.float))
        self.sums[-1] += norms.sum(dtype=self.sums.dtype) * rows / incoming

    def read_epoch(self, sum_over_ranks: Callable[[Tensor], Tensor], clean: Tensor | None) -> dict[str, Any]:
        """The values of an epoch by `COLUMNS`, but for the epoch; the sums start anew.

        Args:
            sum_over_ranks: adds a tensor up over the processes.
            clean: (2, P), as `above` gives it, of all images in evaluation mode and over all processes; or None.
        """
        sums = sum_over_ranks(self.sums).tolist()
        self.sums.zero_()
        samples, norms = int(sums[-2]), sums[-1]
        values = {"samples": samples, **means_of(sums[:-2])}
        values["gradient_norm"] = norms / samples if samples else None
        if clean is None:
            return values
        return values | {"clean_samples": len(self.labels), **means_of(clean.flatten().tolist(), "clean_")}

    def state_dict(self) -> dict[str, Tensor]:
        return {"sums": self.sums.clone()}

    def load_state_dict(self, state: dict[str, Tensor]) -> None:
        self.sums.copy_(state["sums"])


def means_of(sums: list[float], prefix: str = "") -> dict[str, int | float | None]:
    """Counts and mean entropies by column; no entropy where no sample counts."""
    counts, entropies = sums[: len(THRESHOLDS)], sums[len(THRESHOLDS) :]
    means = [total / count if count else None for total, count in zip(entropies, counts, strict=True)]
    return dict(zip(columns_of(prefix), [*map(int, counts), *means], strict=True))
