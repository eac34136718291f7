"""The predictions of an evaluation for each sample: label, best guesses with probabilities, losses, confidences.

All logits are kept too, on request.

Each row is filled by the one process that saw the sample and is zero on the others, so adding them up is exact.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field

import numpy as np
import torch
from torch import Tensor

from sosr_timm.metrics.accuracy import check_batch
from sosr_timm.metrics.calibration import brier_score, in_float64, negative_log_likelihood
from sosr_timm.metrics.confidence import P_NORM, confidences

# Kept for each sample: its losses, and its confidences beside the probability of the best guess.
LOSSES = ("loss", "brier")
OTHER_CONFIDENCES = ("max_logit", "margin", "entropy", "p_norm", "energy")
SCORES = LOSSES + OTHER_CONFIDENCES


@dataclass(frozen=True)
class Samples:
    """The predictions of an evaluation, in the order of the data set.

    Attributes:
        target: (N,) int64.
        guesses: (N, k) int64, the best first.
        probabilities: (N, k) float64, of the guesses.
        logits: (N, K) float32, or None where they were not kept.
        scores: (N,) float64 each, by name: `loss` (nats), `brier`, and the confidences of `metrics.confidence`. Files
            of older versions have no more than `max_softmax`.
    """

    target: np.ndarray
    guesses: np.ndarray
    probabilities: np.ndarray
    logits: np.ndarray | None = None
    scores: dict[str, np.ndarray] = field(default_factory=dict)

    def __post_init__(self):
        self.scores.setdefault("max_softmax", self.confidence)

    @property
    def correct(self) -> np.ndarray:
        """(N,) bool: the best guess is the label."""
        return self.guesses[:, 0] == self.target

    @property
    def confidence(self) -> np.ndarray:
        """(N,) float64: the probability of the best guess."""
        return self.probabilities[:, 0]


class SampleTable:
    """Predictions, sample by sample; nothing here waits for the device.

    Args:
        num_samples: of the evaluation, over all processes.
        classes: K of the logits.
        k: how many guesses to keep; with fewer classes than k, all of them.
        keep_logits: keep all logits too, as float32.
        device: where the logits will be.
        p_norm: p of the confidence `p_norm`.
    """

    def __init__(
        self,
        num_samples: int,
        classes: int,
        k: int = 5,
        keep_logits: bool = False,
        device: torch.device | str = "cpu",
        p_norm: float = P_NORM,
    ):
        self.k, self.p_norm = min(k, classes), p_norm
        device = torch.device(device)
        dtype = torch.float32 if device.type == "mps" else torch.float64
        # seen, target, k guesses, k probabilities, scores
        self.rows = torch.zeros(num_samples, 2 + 2 * self.k + len(SCORES), dtype=dtype, device=device)
        self.logits = torch.zeros(num_samples, classes, device=device) if keep_logits else None

    @torch.no_grad()
    def update(self, start: int, logits: Tensor, target: Tensor) -> None:
        """Fill the rows of one batch.

        Args:
            start: place of its first sample in the data set; the others follow it.
            logits: (M, K) floating point.
            target: (M,) integers.

        Raises:
            IndexError: there are no such samples.
            ValueError: shapes or dtypes are not those above.
        """
        check_batch(logits, target)
        place = slice(start, start + len(logits))
        if start < 0 or place.stop > len(self.rows):
            raise IndexError(f"samples {start} to {place.stop} of {len(self.rows)}")
        wide = in_float64(logits)
        values, guesses = wide.topk(self.k, dim=1)
        probabilities = (values - wide.logsumexp(dim=1, keepdim=True)).exp()
        column = target[:, None].to(wide.dtype)
        scores = torch.stack(list(self._scores(wide, target).values()), dim=1)
        found = [torch.ones_like(column), column, guesses.to(wide.dtype), probabilities, scores]
        self.rows[place] = torch.cat(found, dim=1)
        if self.logits is not None:
            self.logits[place] = logits

    def _scores(self, logits: Tensor, target: Tensor) -> dict[str, Tensor]:
        log_probabilities = logits.log_softmax(dim=1)
        label = target.to(torch.int64).clamp(0, logits.shape[1] - 1)
        sure = confidences(logits, self.p_norm)
        return {
            "loss": negative_log_likelihood(log_probabilities, label),
            "brier": brier_score(log_probabilities.exp(), label),
            **{name: sure[name] for name in OTHER_CONFIDENCES},
        }

    def reduce(self, sum_over_ranks: Callable[[Tensor], Tensor] | None = None) -> None:
        """Bring the rows of all processes together; every process must call it, once, after its last batch."""
        if sum_over_ranks is not None:
            self.rows = sum_over_ranks(self.rows)
            self.logits = None if self.logits is None else sum_over_ranks(self.logits)

    def read(self) -> Samples:
        """Everything, on the CPU; this waits for the device.

        Raises:
            ValueError: a sample is missing or came from more than one process.
        """
        rows = self.rows.cpu().numpy()
        wrong = np.flatnonzero(rows[:, 0] != 1)
        if len(wrong):
            raise ValueError(f"each sample must come exactly once, but {len(wrong)} did not, the first is {wrong[0]}")
        return Samples(
            target=rows[:, 1].astype(np.int64),
            guesses=rows[:, 2 : 2 + self.k].astype(np.int64),
            probabilities=rows[:, 2 + self.k : 2 + 2 * self.k].astype(np.float64),
            logits=None if self.logits is None else self.logits.cpu().numpy(),
            scores=dict(zip(SCORES, rows[:, 2 + 2 * self.k :].T.astype(np.float64).copy(), strict=True)),
        )
