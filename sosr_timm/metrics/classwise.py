"""Class-wise calibration error: every class's probability in bins, not only that of the best guess."""

from __future__ import annotations

import math
from collections.abc import Callable

import torch
from torch import Tensor

from sosr_timm.metrics.calibration import bin_edges, in_float64

# Gaps are summed as integers of this unit: in any order, on any device and over any processes to the same bits.
# Each is off by at most 2^-41, and 2^63 of them hold 8 million samples.
UNIT = 2.0**-40


class ClasswiseCalibration:
    """Class-wise expected calibration error, batch by batch (Kull et al. 2019, arXiv 1910.12656).

    The mean over classes k of the sum over equal-width bins (lo, hi] of p_k of
    (samples in the bin) / N * |share of them with label k - mean p_k of them|.

    Args:
        classes: K.
        bins: of each class.
        device: where the logits will be; nothing waits for it until `compute`.
    """

    def __init__(self, classes: int, bins: int = 15, device: torch.device | str = "cpu"):
        self.classes, self.bins = classes, bins
        self.gaps = torch.zeros(classes * bins, dtype=torch.int64, device=device)
        self.count = 0

    @torch.no_grad()
    def update(self, logits: Tensor, target: Tensor) -> None:
        """Add a batch.

        Args:
            logits: (M, K) floating point.
            target: (M,) integers in [0, K).
        """
        probabilities = in_float64(logits).softmax(dim=1)
        inner = bin_edges(self.bins, probabilities.device, probabilities.dtype)[1:-1]
        classes = torch.arange(self.classes, device=probabilities.device)
        index = classes * self.bins + torch.bucketize(probabilities, inner)
        gaps = (probabilities - (classes == target[:, None]).to(probabilities.dtype)) / UNIT
        self.gaps.index_add_(0, index.flatten(), gaps.nan_to_num(0.0).round().to(torch.int64).flatten())
        self.count += len(target)

    def reduce(self, sum_over_ranks: Callable[[Tensor], Tensor] | None = None) -> None:
        """Bring the sums of all processes together; every process must call it, once, after its last batch."""
        if sum_over_ranks is not None:
            self.gaps = sum_over_ranks(self.gaps)
            self.count = int(sum_over_ranks(torch.tensor([self.count])))

    def compute(self) -> float:
        """The error as a fraction; this waits for the device.

        Raises:
            ValueError: there are no samples.
        """
        if not self.count:
            raise ValueError("there are no samples in this evaluation")
        return math.fsum(abs(gap) * UNIT for gap in self.gaps.tolist()) / (self.count * self.classes)
