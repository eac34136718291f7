"""Metrics of images with many labels: timm's evaluator over all rows in order, the same for any number of processes."""

from __future__ import annotations

from collections.abc import Callable

import torch
from timm.task import MultiLabelClassificationEvaluator
from torch import Tensor


class MultiLabelTable:
    """Mean average precision, F1 and binary cross entropy.

    A ranking of images is no sum over batches, so every row of logits is kept, (N, K) float32 on the CPU, at the place
    of its image. Each process fills its own; the others are zero, so adding them up is exact.

    Args:
        num_batches: batches of the evaluation, over all processes.
        num_samples: images of the evaluation, N.
        batch_size: images in every batch but the last.
        num_classes: labels, K.
        threshold: probability from which a label counts as predicted, for F1.

    Raises:
        ValueError: a threshold outside (0, 1).
    """

    METRICS = ("map", "micro_f1", "macro_f1", "sample_f1", "loss")

    def __init__(self, num_batches: int, num_samples: int, batch_size: int, num_classes: int, threshold: float = 0.5):
        self.evaluator = MultiLabelClassificationEvaluator(threshold=threshold)
        self.num_batches, self.num_samples, self.batch_size = num_batches, num_samples, batch_size
        self.logits = torch.zeros(num_samples, num_classes)
        self.target = torch.zeros(num_samples, num_classes)
        self.times = torch.zeros(num_batches, dtype=torch.int64)

    @torch.no_grad()
    def update(self, batch_index: int, logits: Tensor, target: Tensor) -> None:
        """Fill the rows of one batch.

        Args:
            batch_index: place of the batch among all batches of the evaluation, in [0, num_batches).
            logits: (M, K) floating point.
            target: (M, K) floats, 0 or 1.

        Raises:
            IndexError: there is no such batch.
            ValueError: shapes other than those above.
        """
        if not 0 <= batch_index < self.num_batches:
            raise IndexError(f"batch {batch_index} of {self.num_batches}")
        start = batch_index * self.batch_size
        rows = min(self.batch_size, self.num_samples - start)
        expected = (rows, self.logits.shape[1])
        if logits.shape != expected or target.shape != expected:
            raise ValueError(
                f"expected logits and target {expected}, not {tuple(logits.shape)} and {tuple(target.shape)}"
            )
        self.logits[start : start + rows] = logits.float().cpu()
        self.target[start : start + rows] = target.float().cpu()
        self.times[batch_index] += 1

    def reduce(self, sum_over_ranks: Callable[[Tensor], Tensor] | None = None) -> None:
        """Bring the rows of all processes together; every process must call it, once, after its last batch.

        Args:
            sum_over_ranks: gives back the element-wise sum of its tensor over all processes; None for one process.
        """
        if sum_over_ranks is not None:
            self.times = sum_over_ranks(self.times)
            self.logits, self.target = sum_over_ranks(self.logits), sum_over_ranks(self.target)

    def compute(self) -> dict[str, float]:
        """The metrics over all batches.

        Returns:
            `map` (mean over classes of the average precision), `micro_f1`, `macro_f1` and `sample_f1` in percent,
            `loss` (mean binary cross entropy in nats) and `count` (samples, an int).

        Raises:
            ValueError: a batch is missing or was given by more than one process.
        """
        wrong = (self.times != 1).nonzero().flatten().tolist()
        if wrong:
            raise ValueError(f"each batch must come exactly once over all processes, but {wrong[:10]} did not")
        self.evaluator.reset()
        self.evaluator.update(self.logits, self.target)
        found = self.evaluator.compute()
        return {name: float(found[name]) for name in self.METRICS} | {"count": self.num_samples}
