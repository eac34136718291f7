"""The row kernel on the CPU: blocks of rows that stay in the cache while a few vectorised passes go over them."""

from __future__ import annotations

import torch
from torch import Tensor

from sosr_timm.kernels.work import PARTS, RowWork, inner_dtype

BLOCK = 65_536  # numbers in a block for each thread: 256 KB of float32, three of them fit the second cache


def run_rows(logits: Tensor, work: RowWork, gradient: Tensor | None = None, incoming: Tensor | float = 1.0) -> Tensor:
    """All terms of a loss and their common gradient.

    Args:
        logits: (M, K) on the CPU, any floating dtype and strides, without a gradient.
        work: the loss and the target.
        gradient: (M, K) contiguous in the dtype of the logits, to be filled, or None.
        incoming: factor of the gradient.

    Returns:
        (5,) float32, float64 for float64 logits: means over the rows of what each of `PARTS` contributes.

    Raises:
        RuntimeError: torch's own, for a class index outside [0, K), before any state has changed.
    """
    rows, classes = logits.shape
    dtype = inner_dtype(logits.dtype)
    if work.index is not None:
        logits.gather(1, work.index.unsqueeze(1))
    step = min(rows, max(1, BLOCK * torch.get_num_threads() // classes))
    scratch = Scratch(step, classes, dtype)
    values = torch.zeros(len(PARTS), rows, dtype=dtype)
    direct = gradient is not None and gradient.dtype == dtype
    scale = None if gradient is None else float(incoming) / rows
    for start in range(0, rows, step):
        here = slice(start, min(start + step, rows))
        power = gradient[here] if direct else scratch.get("power", here.stop - start)
        Block(logits[here].to(dtype).contiguous(), here, work, scratch, values).run(power, scale)
        if gradient is not None and not direct:
            gradient[here] = power
    return values.mean(dim=1)


class Scratch:
    """Memory for blocks, reused from one to the next."""

    def __init__(self, rows: int, classes: int, dtype: torch.dtype):
        self.shape, self.dtype, self.buffers = (rows, classes), dtype, {}

    def get(self, name: str, rows: int) -> Tensor:
        """(rows, K), what it holds is what its last user left."""
        if name not in self.buffers:
            self.buffers[name] = torch.empty(self.shape, dtype=self.dtype)
        return self.buffers[name][:rows]


class Block:
    """A few rows on their way through all terms.

    Attributes:
        gap: (B, K), z - max z, at most 0, and 0 at `top`: (B, 1), the first of the largest logits.
        power: (B, K), e^gap; in the end the gradient.
        total: (B, 1), sum of e^gap; `log_total` keeps its digits for rows that are almost certain.
        keep: (B, K), the labels of rows with dense targets, else None.
        target: (B, K), what log p is weighted by, or None where class and smoothing say it all.
    """

    def __init__(self, logits: Tensor, here: slice, work: RowWork, scratch: Scratch, values: Tensor):
        rows, self.classes = logits.shape
        self.work, self.logits, self.scratch, self.rows = work, logits, scratch, rows
        self.index = None if work.index is None else work.index[here].unsqueeze(1)
        self.dense = None if work.dense is None else work.dense[here].to(logits.dtype)
        self.values = values[:, here]
        self.gap = scratch.get("gap", rows)
        self.keep = self.target = None

    def run(self, power: Tensor, scale: float | None) -> None:
        """Fill the block's share of the values, and `power` with the gradient unless the scale is None."""
        work, self.power = self.work, power
        self.exponentials()
        self.base_value()
        if work.maxsup is not None:
            self.put("maxsup", self.gap.sum(dim=1, keepdim=True), -float(work.maxsup) / self.classes)
        if work.probability_sum is not None:
            self.count()
        if work.cp is not None:
            # Entropy is surplus + log_total, and the gradient of minus it p (gap + surplus): no 1 - 1 anywhere.
            self.surplus = self.product_sum(power, self.gap).div_(self.total).neg_()
            self.put("cp", self.surplus + self.log_total, -work.cp)
        chosen = None if work.beta is None else self.select()
        if scale is not None:
            self.softmax_gradient(scale)
        if chosen is not None:
            self.level(chosen, scale)
        if scale is not None:
            self.target_gradient(scale)

    def put(self, name: str, column: Tensor, weight: float = 1.0) -> None:
        torch.mul(column.squeeze(1), weight, out=self.values[PARTS.index(name)])

    def product_sum(self, first: Tensor, second: Tensor) -> Tensor:
        """(B, 1), the sum of products along each row."""
        return torch.mul(first, second, out=self.scratch.get("other", self.rows)).sum(dim=1, keepdim=True)

    def exponentials(self) -> None:
        # NumPy's arg max is vectorised, torch's takes longer than all that follows.
        self.top = torch.from_numpy(self.logits.numpy().argmax(axis=1)).unsqueeze(1)
        torch.sub(self.logits, self.logits.gather(1, self.top), out=self.gap)
        torch.exp(self.gap, out=self.power)
        self.power.scatter_(1, self.top, 0.0)
        rest = self.power.sum(dim=1, keepdim=True)
        self.power.scatter_(1, self.top, 1.0)
        self.log_total, self.total = rest.log1p(), rest.add_(1.0)

    def base_value(self) -> None:
        work = self.work
        if self.index is not None:
            self.label_gap = self.gap.gather(1, self.index)
        if self.index is not None and work.soft_labels is None:
            value = torch.sub(self.log_total, self.label_gap)
            if work.smoothing:
                mean = self.log_total - self.gap.mean(dim=1, keepdim=True)
                value.mul_(1.0 - work.smoothing).add_(mean, alpha=work.smoothing)
            self.weight = None
        else:
            self.target = self.soft_target() if work.soft_labels is not None else self.dense
            self.weight = self.target.sum(dim=1, keepdim=True)
            value = (self.weight * self.log_total).sub_(self.product_sum(self.target, self.gap))
        self.put("base", value)

    def soft_target(self) -> Tensor:
        """alpha * label + (1 - alpha) * soft label."""
        target, alpha = self.scratch.get("target", self.rows), self.work.alpha
        if self.index is None:
            weights = self.un_smoothed()
            torch.matmul(weights, self.work.soft_labels.to(target.dtype), out=target)
            return target.mul_(1.0 - alpha).add_(self.dense, alpha=alpha)
        target.copy_(self.work.soft_labels.index_select(0, self.index.squeeze(1))).mul_(1.0 - alpha)
        return target.scatter_add_(1, self.index, target.new_full((self.rows, 1), alpha))

    def un_smoothed(self) -> Tensor:
        smoothing = self.work.dense_smoothing
        return (self.dense - smoothing / self.classes) / (1.0 - smoothing) if smoothing else self.dense

    def labels(self) -> tuple[Tensor, Tensor | int]:
        """Which classes are labels, (B, K), and how many, (B, 1)."""
        if self.keep is None:
            self.keep = self.un_smoothed() > self.work.label_weight
        return self.keep, self.keep.sum(dim=1, keepdim=True)

    def count(self) -> None:
        """Online label smoothing: add the probabilities of rows whose one label is the arg max."""
        index = self.index
        if index is None:
            index = torch.from_numpy(self.un_smoothed().numpy().argmax(axis=1)).unsqueeze(1)
        counted = self.top == index
        if self.index is None:
            counted &= self.labels()[1] == 1
        rows = counted.squeeze(1).nonzero().squeeze(1)
        index, sums, counts = index.squeeze(1)[rows], self.work.probability_sum, self.work.correct_count
        sums.index_add_(0, index, (self.power[rows] / self.total[rows]).to(sums.dtype))
        counts.index_add_(0, index, counts.new_ones(len(index)))

    def select(self) -> Tensor | None:
        """(B, 1) bool, the over-confident rows with something to level, or None where there are none."""
        if self.index is not None:
            belief, single, self.wrong_count = (
                self.power.gather(1, self.index),
                self.top == self.index,
                self.classes - 1,
            )
            chosen = (belief.div_(self.total).clamp_(max=1.0) > self.work.threshold).logical_and_(single)
            if self.classes == 1:
                chosen.zero_()
        else:
            keep, label_count = self.labels()
            belief = self.product_sum(self.power, keep).div_(self.total).clamp_(max=1.0)
            self.wrong_count = self.classes - label_count
            chosen = (belief > self.work.threshold) & (keep.gather(1, self.top) | (label_count > 1))
            chosen &= self.wrong_count > 0
        if not chosen.any():
            return None
        self.values[PARTS.index("selected")].copy_(chosen.squeeze(1))
        return chosen

    def level(self, chosen: Tensor, scale: float | None) -> None:
        """Turn the gaps into deviations of the wrong logits from their mean; their squares are SOSR's value."""
        if self.index is not None:
            mean = self.gap.sum(dim=1, keepdim=True).sub_(self.label_gap).div_(self.wrong_count)
            deviation = self.gap.sub_(mean).scatter_(1, self.index, 0.0)
        else:
            mean = self.gap.masked_fill_(self.keep, 0.0).sum(dim=1, keepdim=True) / self.wrong_count.clamp(min=1)
            deviation = self.gap.sub_(mean).masked_fill_(self.keep, 0.0)
        factor = chosen.to(deviation.dtype).mul_(self.work.beta / self.classes)
        spread = torch.linalg.vector_norm(deviation, dim=1, keepdim=True).square_()
        self.put("sosr", spread.mul_(factor))
        if scale is not None:
            self.power.addcmul_(deviation, factor, value=2.0 * scale)

    def softmax_gradient(self, scale: float) -> None:
        """What is p times something, and what is the same for all classes."""
        work = self.work
        factor = (self.total.reciprocal() if self.weight is None else self.weight / self.total).mul_(scale)
        if work.cp is not None:
            slope = self.total.reciprocal().mul_(scale * work.cp)
            factor = torch.addcmul(
                factor.addcmul_(slope, self.surplus), self.gap, slope, out=self.scratch.get("other", self.rows)
            )
        everywhere = (
            -scale / self.classes * (float(work.maxsup or 0.0) + (work.smoothing if self.target is None else 0.0))
        )
        if everywhere:
            torch.addcmul(factor.new_tensor(everywhere), self.power, factor, out=self.power)
        else:
            self.power.mul_(factor)

    def target_gradient(self, scale: float) -> None:
        """Minus the target, and MaxSup's top logit."""
        column = self.power.new_empty(self.rows, 1)
        if self.target is not None:
            self.power.add_(self.target, alpha=-scale)
        else:
            self.power.scatter_add_(1, self.index, column.fill_(-scale * (1.0 - self.work.smoothing)))
        if self.work.maxsup is not None:
            self.power.scatter_add_(1, self.top, column.fill_(scale * float(self.work.maxsup)))
