"""The table of an evaluation: one row of sums per batch, so that 1 and n processes give the same metrics to the bit.

Each row is filled by the one process that saw the batch and is zero on the others. Adding the tables of all processes
is therefore exact, and the columns are added up by `math.fsum`, whose result depends on no order.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping, Sequence

import torch
from torch import Tensor

from sosr_timm.metrics.accuracy import check_batch, top_correct
from sosr_timm.metrics.calibration import (
    bin_edges,
    bin_membership,
    brier_score,
    calibration_error,
    in_float64,
    negative_log_likelihood,
)

COLUMNS = ("count", "top1", "top5", "nll", "brier", "not_a_class")


class MetricTable:
    """Accuracy and calibration of single-label predictions, batch by batch.

    Args:
        num_batches: batches of the evaluation, over all processes.
        bins: equal-width confidence bins (lo, hi] of the calibration error.
        device: where the logits will be; sums stay there until `compute`, so no batch waits for the device.
        groups: (K,) booleans by name: groups of classes whose top-1 accuracy is wanted too.

    Raises:
        ValueError: `num_batches` or `bins` is below 1.
    """

    METRICS = ("top1", "top5", "loss", "ece", "brier")

    def __init__(
        self,
        num_batches: int,
        bins: int = 15,
        device: torch.device | str = "cpu",
        groups: Mapping[str, Sequence[bool]] | None = None,
    ):
        if num_batches < 1 or bins < 1:
            raise ValueError(f"an evaluation needs a batch and a bin, not num_batches={num_batches}, bins={bins}")
        self.num_batches = num_batches
        self.bins = bins
        device = torch.device(device)
        dtype = torch.float32 if device.type == "mps" else torch.float64  # MPS has no float64
        self.groups = {name: torch.as_tensor(member, device=device) for name, member in (groups or {}).items()}
        # first column: how many times the batch came, which must be once over all processes
        self.rows = torch.zeros(num_batches, self.width + 2 * len(self.groups), dtype=dtype, device=device)

    @property
    def width(self) -> int:
        """Columns without those of groups."""
        return 1 + len(COLUMNS) + 3 * self.bins

    @torch.no_grad()
    def update(self, batch_index: int, logits: Tensor, target: Tensor) -> None:
        """Fill the row of one batch; a second call for the same batch replaces the first.

        A row of logits without a softmax (NaN or +inf in it) makes every metric NaN. A target that is no class (-1,
        say) is found in `compute`: looking at values here would wait for the device.

        Args:
            batch_index: place of the batch among all batches of the evaluation, in [0, num_batches).
            logits: (M, K) floating point; everything is computed in float64.
            target: (M,) integers.

        Raises:
            IndexError: there is no such batch.
            ValueError: shapes or dtypes are not those above.
        """
        if not 0 <= batch_index < self.num_batches:
            raise IndexError(f"batch {batch_index} of {self.num_batches}")
        check_batch(logits, target)
        logits, target = in_float64(logits), target.to(torch.int64)
        label = target.clamp(0, logits.shape[1] - 1)
        log_probabilities = logits.log_softmax(dim=1)
        probabilities = log_probabilities.exp()
        confidence = probabilities.amax(dim=1)
        undefined = confidence.isnan()
        top1, top5 = (hit.to(logits.dtype).masked_fill(undefined, math.nan) for hit in top_correct(logits, target))
        ones = torch.ones_like(confidence)
        per_sample = [
            ones,
            top1,
            top5,
            negative_log_likelihood(log_probabilities, label),
            brier_score(probabilities, label),
            (label != target).to(logits.dtype),
        ]
        member = bin_membership(confidence, self.bins)
        binned = [torch.where(member, column[:, None], 0.0) for column in (ones, confidence, top1)]
        # one sum over a matrix: torch adds a lone vector in an order that depends on the number of threads
        sums = torch.cat([torch.stack(per_sample, dim=1), *binned], dim=1).sum(dim=0)
        row = self.rows[batch_index]
        row[1 : self.width] = sums
        for number, member in enumerate(self.groups.values()):
            of_group = torch.where(member[label][:, None], torch.stack([ones, top1], dim=1), 0.0)
            row[self.width + 2 * number : self.width + 2 * number + 2] = of_group.sum(dim=0)
        row[:1] = 1.0

    def reduce(self, sum_over_ranks: Callable[[Tensor], Tensor] | None = None) -> None:
        """Bring the rows of all processes together; every process must call it, once, after its last batch.

        Args:
            sum_over_ranks: gives back the element-wise sum of its tensor over all processes, for example
                `accelerator.reduce`. None for a single process.
        """
        if sum_over_ranks is not None:
            self.rows = sum_over_ranks(self.rows)

    def compute(self) -> dict[str, float]:
        """The metrics over all batches.

        Returns:
            `top1` and `top5` in percent, `loss` (mean negative log-likelihood in nats), `brier` (mean, 0 to 2), `ece`
            (expected calibration error as a fraction, 0 to 1) and `count` (samples, an int); for each group with
            samples its accuracy in percent, `top1_NAME`.

        Raises:
            ValueError: a batch is missing or was given by more than one process, there are no samples, or targets are
                outside [0, K).
        """
        sums, binned, of_groups = self._totals()
        count = sums["count"]
        return {
            "top1": 100.0 * sums["top1"] / count,
            "top5": 100.0 * sums["top5"] / count,
            "loss": sums["nll"] / count,
            "brier": sums["brier"] / count,
            "ece": calibration_error(*binned),
            "count": int(count),
            **{f"top1_{name}": 100.0 * right / images for name, (images, right) in of_groups.items() if images},
        }

    def reliability(self) -> dict[str, list[float | None]]:
        """The data of a reliability diagram.

        Returns:
            `edges` (bins + 1), and for each bin `count`, mean `confidence` and `accuracy` as fractions; the latter two
            are None for an empty bin.

        Raises:
            ValueError: as in `compute`.
        """
        _, (counts, confidences, corrects), _ = self._totals()

        def means(sums: list[float]) -> list[float | None]:
            return [total / count if count else None for total, count in zip(sums, counts, strict=True)]

        return {
            "edges": bin_edges(self.bins).tolist(),
            "count": [int(count) for count in counts],
            "confidence": means(confidences),
            "accuracy": means(corrects),
        }

    def _totals(self) -> tuple[dict[str, float], list[list[float]], dict[str, list[float]]]:
        """Column sums by name, (counts, confidence sums, correct sums) of bins, (samples, right ones) of the groups.

        This waits for the device.
        """
        times, *columns = self.rows.cpu().T.tolist()
        wrong = [batch for batch, seen in enumerate(times) if seen != 1]
        if wrong:
            seen = ", ".join(f"{batch} ({times[batch]:g}x)" for batch in wrong[:10])
            raise ValueError(f"each batch must come exactly once over all processes, but {len(wrong)} did not: {seen}")
        totals = [math.fsum(column) for column in columns]
        sums = dict(zip(COLUMNS, totals, strict=False))
        if not sums["count"]:
            raise ValueError("there are no samples in this evaluation")
        if sums["not_a_class"]:
            raise ValueError(f"{sums['not_a_class']:g} targets are no class; ignored labels are not supported")
        binned, rest = totals[len(COLUMNS) : self.width - 1], totals[self.width - 1 :]
        bins = [binned[start : start + self.bins] for start in range(0, 3 * self.bins, self.bins)]
        return sums, bins, {name: rest[2 * number : 2 * number + 2] for number, name in enumerate(self.groups)}
