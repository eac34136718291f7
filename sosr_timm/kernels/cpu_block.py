"""A block of rows on the CPU: all terms of a loss and their gradient while the block is in the cache.

Passes over a block are torch's, which vectorises them and shares them between threads. The algebra on one number a row
is NumPy's on the same memory, because a call costs it a fraction of what torch spends on dispatch.
"""

from __future__ import annotations

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from sosr_timm.kernels.scratch import Scratch
from sosr_timm.kernels.work import PARTS, RowWork


class Block:
    """A few rows on their way through all terms. Columns, one number a row, are (B, 1) NumPy arrays.

    Attributes:
        gap: (B, K), z - max z, at most 0, and 0 at `top`: (B,), the first of the largest logits.
        power: (B, K), e^gap; in the end the gradient.
        total: column, sum of e^gap; `log_total` keeps its digits for rows that are almost certain.
        keep: (B, K), the labels of rows with dense targets, else None.
        target: (B, K), what log p is weighted by, or None where class and smoothing say it all.
    """

    def __init__(self, logits: Tensor, here: slice, work: RowWork, scratch: Scratch, values: NDArray):
        self.rows, self.classes = logits.shape
        self.work, self.logits, self.scratch = work, logits, scratch
        self.index = None if work.index is None else work.index[here].numpy()
        self.dense = None if work.dense is None else work.dense[here].detach().to(logits.dtype)
        self.values = values[:, here]
        self.gap = scratch.get("gap", self.rows)
        self.gap_array = self.gap.numpy()
        self.line = np.arange(self.rows)
        self.keep = self.target = None

    def run(self, power: Tensor, scale: float | None) -> None:
        """Fill the block's share of the values, and `power` with the gradient unless the scale is None."""
        work, self.power, self.power_array = self.work, power, power.numpy()
        self.exponentials()
        self.base_value()
        if work.maxsup is not None:
            self.put("maxsup", self.gap_sum, -float(work.maxsup) / self.classes)
        if work.probability_sum is not None:
            self.count()
        if work.cp is not None:
            # Entropy is surplus + log_total, and the gradient of minus it p (gap + surplus): no 1 - 1 anywhere.
            self.product = torch.mul(power, self.gap, out=self.scratch.get("product", self.rows))
            self.surplus = sums(self.product) / -self.total
            self.put("cp", self.surplus + self.log_total, -work.cp)
        chosen = None if work.beta is None else self.select()
        if scale is not None:
            self.softmax_gradient(scale)
        if chosen is not None:
            self.level(chosen, scale)
        if scale is not None:
            self.target_gradient(scale)

    def put(self, name: str, column: NDArray, weight: float = 1.0) -> None:
        np.multiply(column[:, 0], weight, out=self.values[PARTS.index(name)])

    def product_sum(self, first: Tensor, second: Tensor) -> NDArray:
        """The sum of products along each row."""
        return sums(torch.mul(first, second, out=self.scratch.get("other", self.rows)))

    def exponentials(self) -> None:
        logits = self.logits.numpy()
        self.top = logits.argmax(axis=1)  # vectorised; torch's takes longer than all that follows
        torch.sub(self.logits, torch.from_numpy(logits[self.line, self.top, None]), out=self.gap)
        torch.exp(self.gap, out=self.power)
        self.power_array[self.line, self.top] = 0.0
        rest = sums(self.power)
        self.power_array[self.line, self.top] = 1.0
        self.log_total, self.total = np.log1p(rest), rest + 1.0
        if self.work.maxsup is not None or self.work.smoothing or (self.work.beta is not None and self.dense is None):
            self.gap_sum = sums(self.gap)

    def base_value(self) -> None:
        work = self.work
        if self.index is not None:
            self.label_gap = self.gap_array[self.line, self.index, None]
        if self.index is not None and work.soft_labels is None:
            value, self.weight = self.log_total - self.label_gap, 1.0
            if work.smoothing:
                mean = self.log_total - self.gap_sum / self.classes
                value = (1.0 - work.smoothing) * value + work.smoothing * mean
        else:
            self.target = self.soft_target() if work.soft_labels is not None else self.dense
            self.weight = sums(self.target)
            value = self.weight * self.log_total - self.product_sum(self.target, self.gap)
        self.put("base", value)

    def soft_target(self) -> Tensor:
        """alpha * label + (1 - alpha) * soft label."""
        target, alpha, soft_labels = self.scratch.get("target", self.rows), self.work.alpha, self.work.soft_labels
        if self.index is None:
            torch.matmul(self.un_smoothed(), soft_labels.to(target.dtype), out=target)
            return target.mul_(1.0 - alpha).add_(self.dense, alpha=alpha)
        target.copy_(soft_labels.index_select(0, torch.from_numpy(self.index))).mul_(1.0 - alpha)
        target.numpy()[self.line, self.index] += alpha
        return target

    def un_smoothed(self) -> Tensor:
        smoothing = self.work.dense_smoothing
        return (self.dense - smoothing / self.classes) / (1.0 - smoothing) if smoothing else self.dense

    def labels(self) -> tuple[Tensor, NDArray]:
        """Which classes are labels, (B, K), and how many, a column."""
        if self.keep is None:
            self.keep = self.un_smoothed() > self.work.label_weight
        return self.keep, sums(self.keep)

    def count(self) -> None:
        """Online label smoothing: add the probabilities of rows whose one label is the arg max."""
        index = self.un_smoothed().numpy().argmax(axis=1) if self.index is None else self.index
        counted = self.top == index
        if self.index is None:
            counted &= self.labels()[1][:, 0] == 1
        rows, index = torch.from_numpy(counted.nonzero()[0]), torch.from_numpy(index[counted])
        probability_sum, correct_count = self.work.probability_sum, self.work.correct_count
        p = self.power[rows].div_(torch.from_numpy(self.total[counted]))
        probability_sum.index_add_(0, index, p.to(probability_sum.dtype))
        correct_count.index_add_(0, index, correct_count.new_ones(len(index)))

    def select(self) -> NDArray | None:
        """A bool for each row: over-confident with something to level; None where no row is."""
        if self.index is not None:
            self.wrong_count, single = self.classes - 1, (self.top == self.index)[:, None]
            belief, levelled = self.power_array[self.line, self.index, None], self.classes > 1
        else:
            keep, label_count = self.labels()
            self.wrong_count = self.classes - label_count
            single = keep.numpy()[self.line, self.top, None] | (label_count > 1)
            belief, levelled = self.product_sum(self.power, keep), self.wrong_count > 0
        # Rounding can push a sum of probabilities past 1, and a threshold of 1 must select nothing.
        chosen = (np.minimum(belief / self.total, 1.0) > self.work.threshold) & single & levelled
        if not chosen.any():
            return None
        self.put("selected", chosen)
        return chosen

    def level(self, chosen: NDArray, scale: float | None) -> None:
        """Turn the gaps into deviations of the wrong logits from their mean; their squares are SOSR's value."""
        if self.index is not None:
            mean = (self.gap_sum - self.label_gap) / self.wrong_count
            self.gap.sub_(torch.from_numpy(mean))
            self.gap_array[self.line, self.index] = 0.0
        else:
            mean = sums(self.gap.masked_fill_(self.keep, 0.0)) / np.maximum(self.wrong_count, 1).astype(
                self.total.dtype
            )
            self.gap.sub_(torch.from_numpy(mean)).masked_fill_(self.keep, 0.0)
        factor = chosen.astype(mean.dtype) * (self.work.beta / self.classes)
        norm = torch.linalg.vector_norm(self.gap, dim=1, keepdim=True).numpy()
        self.put("sosr", norm * norm * factor)
        if scale is not None:
            self.power.addcmul_(self.gap, torch.from_numpy(factor), value=2.0 * scale)

    def softmax_gradient(self, scale: float) -> None:
        """What is p times something, and what is the same for all classes."""
        work = self.work
        factor = self.weight * scale / self.total
        if work.cp is not None:
            slope = work.cp * scale / self.total
            factor += slope * self.surplus
        self.power.mul_(torch.from_numpy(factor))
        everywhere = float(work.maxsup or 0.0) + (work.smoothing if self.target is None else 0.0)
        if everywhere:
            self.power.sub_(everywhere * scale / self.classes)
        if work.cp is not None:
            self.power.addcmul_(self.product, torch.from_numpy(slope))

    def target_gradient(self, scale: float) -> None:
        """Minus the target, and MaxSup's top logit."""
        if self.target is not None:
            self.power.add_(self.target, alpha=-scale)
        else:
            self.power_array[self.line, self.index] -= scale * (1.0 - self.work.smoothing)
        if self.work.maxsup is not None:
            self.power_array[self.line, self.top] += scale * float(self.work.maxsup)


def sums(block: Tensor) -> NDArray:
    """Sums of the rows as a column."""
    return block.sum(dim=1, keepdim=True).numpy()
