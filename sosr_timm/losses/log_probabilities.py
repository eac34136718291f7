"""log p and 1 - p with all their digits, also where a prediction is almost certain."""

from __future__ import annotations

import torch
from torch import Tensor


def log_probabilities(logits: Tensor) -> tuple[Tensor, Tensor]:
    """Logarithm and complement of the softmax.

    With g = z - max z and s = the sum of e^g over all classes but the top one, log p = g - log(1 + s), and 1 - p is
    s / (1 + s) for the top class and 1 - e^g / (1 + s) for others, whose p is at most 1/2. Written so, nothing near 1
    is subtracted from anything near 1, neither here nor in the gradient.

    Args:
        logits: (M, K) float32 or float64.

    Returns:
        log_p: (M, K) in nats.
        complement: (M, K), 1 - p; at least the root of the smallest normal float, so that powers of it have a gradient.
    """
    top = logits.max(dim=1, keepdim=True)
    # Set to 0 at the top, or its gradient would be given to the top logit and taken from it again, with rounding.
    gap = (logits - top.values).scatter(1, top.indices, 0.0)
    power = gap.exp().scatter(1, top.indices, 0.0)
    rest = power.sum(dim=1, keepdim=True)
    total = 1.0 + rest
    complement = (1.0 - power / total).scatter(1, top.indices, rest / total)
    return gap - rest.log1p(), complement.clamp(min=torch.finfo(logits.dtype).tiny ** 0.5)
