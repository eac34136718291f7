"""A block of rows on the CPU: all terms of a loss and their gradient, computed while the block is in the cache.

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
    """The rows being processed, one block after the other. What has one number for each row is a (B,) NumPy array.

    Args:
        work: the loss.
        scratch: working memory.
        scale: factor of the gradient; None where none is wanted.

    Attributes:
        sums: over the rows so far, of what each of `PARTS` contributes.
        gap: (B, K), z - max z, at most 0, and 0 at `top`, the first of the largest logits.
        power: (B, K), e^gap; in the end the gradient.
        total: sum of e^gap; `log_total` and `rest`, the total without the top one's 1, keep their digits for rows that
            are almost certain.
        keep: (B, K), the labels of rows with dense targets, else None.
        target: (B, K), what log p is weighted by, or None where `hard` and the work's spread are enough.
        hard: what the label's log p is weighted by, a number or (B,).
        weight: what all of log p is weighted by together, likewise.
        beyond: (B, K), -1 where a gap goes beyond the margin, else 0.
        compared: (B, K), the sign of z - z_y where that is of the part of label smoothing asked for, else 0.
        gap_flat, power_flat: the same memory as flat arrays.
        first, top_place, label_place: positions of each row, its top logit and its label's logit in them.
    """

    def __init__(self, work: RowWork, scratch: Scratch, scale: float | None):
        self.work, self.scratch, self.scale = work, scratch, scale
        self.sums = dict.fromkeys(PARTS, 0.0)

    def run(
        self, logits: Tensor, index: NDArray | None, dense: Tensor | None, power: Tensor, power_flat: NDArray
    ) -> None:
        """Add the rows' share to the sums, and fill `power` with the gradient unless the scale is None."""
        work, scale = self.work, self.scale
        self.logits, self.index, self.power, self.power_flat = logits, index, power, power_flat
        self.rows, self.classes = logits.shape
        self.dense = None if dense is None else dense.detach().to(logits.dtype)
        self.gap, self.gap_flat = self.scratch.get("gap", self.rows)
        self.first = self.scratch.first[: self.rows]
        self.keep = self.target = None
        self.exponentials()
        self.base_value()
        if work.maxsup is not None:
            self.sums["maxsup"] -= float(np.add.reduce(self.gap_sum)) * float(work.maxsup) / self.classes
        if work.logit_penalty is not None:
            norm = torch.linalg.vector_norm(logits, dim=1).numpy()
            self.sums["logit_penalty"] += 0.5 * work.logit_penalty * float(np.add.reduce(norm * norm))
        if work.margin_weight is not None:
            self.go_beyond()
        if work.part is not None:
            self.compare()
        if work.probability_sum is not None:
            self.count()
        chosen = None if work.beta is None else self.select()
        if work.cp is not None:
            self.entropy(chosen is None)
        if scale is not None:
            self.softmax_gradient(scale)
        if chosen is not None:
            self.level(chosen, scale)
        if scale is not None:
            self.target_gradient(scale)
            if work.logit_penalty is not None:
                self.power.add_(logits, alpha=work.logit_penalty * scale)
            if work.margin_weight is not None:
                self.margin_gradient(scale)
            if work.part is not None:
                self.part_gradient(scale)

    def exponentials(self) -> None:
        logits = self.logits.numpy()
        self.top = logits.argmax(axis=1)  # vectorised; torch's takes longer than all that follows
        self.top_place = self.top + self.first
        torch.sub(self.logits, column(logits.reshape(-1)[self.top_place]), out=self.gap)
        torch.exp(self.gap, out=self.power)
        self.power_flat[self.top_place] = 0.0
        self.rest = row_sums(self.power)
        self.power_flat[self.top_place] = 1.0
        self.log_total, self.total = np.log1p(self.rest), self.rest + 1.0
        if self.work.maxsup is not None or self.work.spread or (self.work.beta is not None and self.dense is None):
            self.gap_sum = row_sums(self.gap)

    def base_value(self) -> None:
        work = self.work
        if self.index is not None:
            self.label_place = self.first + self.index
            self.label_gap = self.gap_flat[self.label_place]
        if self.index is not None and work.soft_labels is None:
            value, self.hard, self.weight = self.log_total - self.label_gap, work.hard, work.mass
            if work.curve is not None:
                value, self.hard = self.curved()
                self.weight = self.hard
            elif work.spread or work.hard != 1.0:
                value = work.hard * value
                if work.spread:
                    value += work.spread * (self.log_total - self.gap_sum / self.classes)
                if work.offset:
                    value += work.offset
        else:
            self.target = self.soft_target() if work.soft_labels is not None else self.dense
            self.weight = row_sums(self.target)
            value = self.weight * self.log_total - self.product_sum(self.target, self.gap)
        self.sums["base"] += float(np.add.reduce(value))

    def curved(self) -> tuple[NDArray, NDArray]:
        """f(p) of the label's probability, and -f'(p) p, which is what its log p is weighted by in the gradient."""
        parameter, tiny = self.work.curve_parameter, np.finfo(self.total.dtype).tiny
        self.label_power = power = self.power_flat[self.label_place]
        others = np.maximum(np.where(self.top == self.index, self.rest, self.total - power), tiny)
        self.complement = others / self.total
        log_p = self.label_gap - self.log_total
        log_complement = np.log(others) - self.log_total
        odds = power / others
        if self.work.curve == "relaxation":
            log_bound = np.log1p(-parameter)
            value = (1.0 - parameter) * (log_bound - log_p) + parameter * (np.log(parameter) - log_complement)
            inside = log_p >= log_bound
            return np.where(inside, 0.0, value), np.where(inside, 0.0, 1.0 - parameter - parameter * odds)
        gamma = parameter if self.work.curve == "focal" else np.where(np.exp(log_p) < 0.2, 5.0, 3.0)
        modulation = np.exp(gamma * log_complement)
        return -modulation * log_p, modulation * (1.0 - gamma * odds * log_p)

    def go_beyond(self) -> None:
        """Margin: what of the gaps goes beyond it, and in which classes."""
        self.beyond = torch.add(self.gap, self.work.margin, out=self.scratch.get("beyond", self.rows)[0])
        self.beyond.clamp_(max=0.0)
        self.sums["margin"] -= self.work.margin_weight / self.classes * float(np.add.reduce(row_sums(self.beyond)))
        if self.scale is not None:
            self.beyond.sign_()

    def margin_gradient(self, scale: float) -> None:
        factor = self.work.margin_weight * scale / self.classes
        self.power.add_(self.beyond, alpha=factor)
        self.power_flat[self.top_place] -= factor * row_sums(self.beyond)

    def compare(self) -> None:
        """A part of label smoothing: the label's logit against smaller ones, larger ones or the top one."""
        weight = self.work.part_weight
        if self.work.part == "top":
            self.sums["ls_parts"] += weight * float(np.add.reduce(self.label_gap))
            return
        self.compared = torch.sub(self.gap, column(self.label_gap), out=self.scratch.get("compared", self.rows)[0])
        smaller = self.work.part == "regularization"
        self.compared.clamp_(max=0.0) if smaller else self.compared.clamp_(min=0.0)
        distance = row_sums(self.compared)
        self.compared_count = np.abs(row_sums(self.compared.sign_()))
        self.sums["ls_parts"] -= weight * float(np.add.reduce(distance / np.maximum(self.compared_count, 1.0)))

    def part_gradient(self, scale: float) -> None:
        factor = self.work.part_weight * scale
        if self.work.part == "top":
            self.power_flat[self.label_place] += factor
            self.power_flat[self.top_place] -= factor
            return
        share = factor / np.maximum(self.compared_count, 1.0)
        self.power.addcmul_(self.compared, column(share), value=1.0 if self.work.part == "regularization" else -1.0)
        self.power_flat[self.label_place] += factor * (self.compared_count > 0)

    def product_sum(self, first: Tensor, second: Tensor) -> NDArray:
        """The sum of products along each row."""
        return row_sums(torch.mul(first, second, out=self.scratch.get("other", self.rows)[0]))

    def soft_target(self) -> Tensor:
        """alpha * label + (1 - alpha) * soft label."""
        target, flat = self.scratch.get("target", self.rows)
        alpha, soft_labels = self.work.alpha, self.work.soft_labels
        if self.index is None:
            torch.matmul(self.un_smoothed(), soft_labels.to(target.dtype), out=target)
            return target.mul_(1.0 - alpha).add_(self.dense, alpha=alpha)
        target.copy_(soft_labels.index_select(0, torch.from_numpy(self.index))).mul_(1.0 - alpha)
        flat[self.label_place] += alpha
        return target

    def un_smoothed(self) -> Tensor:
        smoothing = self.work.dense_smoothing
        return (self.dense - smoothing / self.classes) / (1.0 - smoothing) if smoothing else self.dense

    def labels(self) -> tuple[Tensor, NDArray]:
        """Which classes are labels, (B, K), and how many."""
        if self.keep is None:
            self.keep = self.un_smoothed() > self.work.label_weight
        return self.keep, row_sums(self.keep)

    def count(self) -> None:
        """Count for online label smoothing: add the probabilities of rows whose one label is the arg max."""
        index = self.un_smoothed().numpy().argmax(axis=1) if self.index is None else self.index
        counted = self.top == index
        if self.index is None:
            counted &= self.labels()[1] == 1
        rows, index = torch.from_numpy(counted.nonzero()[0]), torch.from_numpy(index[counted])
        probability_sum, correct_count = self.work.probability_sum, self.work.correct_count
        p = self.power[rows].div_(column(self.total[counted]))
        probability_sum.index_add_(0, index, p.to(probability_sum.dtype))
        correct_count.index_add_(0, index, correct_count.new_ones(len(index)))

    def select(self) -> NDArray | None:
        """Which rows SOSR levels, a bool for each; None where it levels none."""
        if self.index is not None:
            self.wrong_count = self.classes - 1
            if not self.wrong_count:
                return None
            # The label of a chosen row is the arg max, whose e^gap is 1; with a threshold of 1 nothing is chosen.
            chosen = (self.work.threshold * self.total < 1.0) & (self.top == self.index)
        else:
            keep, label_count = self.labels()
            self.wrong_count = self.classes - label_count
            single = keep.numpy().reshape(-1)[self.top_place] | (label_count > 1)
            # Rounding can push a sum of probabilities past 1, and a threshold of 1 must select nothing.
            belief = np.minimum(self.product_sum(self.power, keep) / self.total, 1.0)
            chosen = (belief > self.work.threshold) & single & (self.wrong_count > 0)
        count = np.count_nonzero(chosen)
        self.sums["selected"] += count
        return chosen if count else None

    def entropy(self, last_use_of_gap: bool) -> None:
        """The negative entropy is -(surplus + log_total), its gradient p (gap + surplus): no 1 - 1 anywhere."""
        self.product = self.gap if last_use_of_gap else self.scratch.get("product", self.rows)[0]
        torch.mul(self.power, self.gap, out=self.product)
        self.surplus = row_sums(self.product) / -self.total
        self.sums["cp"] -= self.work.cp * float(np.add.reduce(self.surplus + self.log_total))

    def level(self, chosen: NDArray, scale: float | None) -> None:
        """Replace the gaps by the deviations of the wrong logits from their mean, and add SOSR's value and gradient."""
        if self.index is not None:
            self.gap.sub_(column((self.gap_sum - self.label_gap) / self.wrong_count))
            self.gap_flat[self.label_place] = 0.0
        else:
            wrong_count = np.maximum(self.wrong_count, 1).astype(self.total.dtype)
            mean = row_sums(self.gap.masked_fill_(self.keep, 0.0)) / wrong_count
            self.gap.sub_(column(mean)).masked_fill_(self.keep, 0.0)
        factor = chosen * self.total.dtype.type(self.work.beta / self.classes)
        norm = torch.linalg.vector_norm(self.gap, dim=1).numpy()
        self.sums["sosr"] += float(np.add.reduce(norm * norm * factor))
        if scale is not None:
            self.power.addcmul_(self.gap, column(factor), value=2.0 * scale)

    def softmax_gradient(self, scale: float) -> None:
        """Add the parts of the gradient that are p times a factor, or the same for all classes."""
        work = self.work
        factor = self.weight * scale / self.total
        if work.cp is not None:
            slope = work.cp * scale / self.total
            factor += slope * self.surplus
        everywhere = float(work.maxsup or 0.0) + (work.spread if self.target is None else 0.0)
        if everywhere:
            self.power.mul_(column(factor)).sub_(everywhere * scale / self.classes)
        else:
            self.power.mul_(column(factor))
        if work.cp is not None:
            self.power.addcmul_(self.product, column(slope))

    def target_gradient(self, scale: float) -> None:
        """Subtract the target, and add MaxSup's gradient at the top logit."""
        if self.target is not None:
            self.power.add_(self.target, alpha=-scale)
        else:
            if self.work.curve is None:
                self.power_flat[self.label_place] -= scale * self.hard
            else:  # p - 1 is -(1 - p), which has digits where p is almost 1
                self.power_flat[self.label_place] -= self.label_power * (self.weight * scale / self.total)
                self.power_flat[self.label_place] -= scale * self.hard * self.complement
        if self.work.maxsup is not None:
            self.power_flat[self.top_place] += scale * float(self.work.maxsup)


def row_sums(block: Tensor) -> NDArray:
    """(B,), the sum of each row."""
    return block.sum(dim=1).numpy()


def column(numbers: NDArray) -> Tensor:
    """(B, 1) from (B,), the same memory."""
    return torch.from_numpy(numbers[:, None])
