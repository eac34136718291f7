"""Label relaxation: no loss once the label has enough probability, whatever the rest does.

Source: Lienen and Hüllermeier 2021, "From Label Smoothing to Label Relaxation", AAAI 2021; for mixed targets, the
authors' package `label-relaxation`.
"""

from __future__ import annotations

import math

import torch
from torch import Tensor

from sosr_timm.losses.base import BASES, Base, check_number
from sosr_timm.losses.log_probabilities import log_probabilities
from sosr_timm.losses.targets import Labels


def relaxation(log_p: Tensor, complement: Tensor, alpha: float) -> Tensor:
    """0 where p >= 1 - alpha, else (1 - alpha) log((1 - alpha) / p) + alpha log(alpha / (1 - p)), p that of the label.

    That is the divergence KL(q || p) of the nearest distribution q with q_y >= 1 - alpha: 1 - alpha on the label, the
    rest as in p.

    Args:
        log_p: log p of the label in nats, any shape.
        complement: 1 - p of the label.
        alpha: in (0, 1).

    Returns:
        the same shape, in nats, at least 0.
    """
    divergence = (1.0 - alpha) * (math.log1p(-alpha) - log_p) + alpha * (math.log(alpha) - complement.log())
    return divergence.masked_fill(log_p >= math.log1p(-alpha), 0.0)


def relaxation_of_mixture(log_p: Tensor, labels: Labels, alpha: float) -> Tensor:
    """KL(q || p) of the nearest distribution q with q_c >= w_c (1 - alpha) for every label c of the sample.

    q is max(w_c (1 - alpha), scale * p_c): labels that fall short are raised to their bound, and what is left is shared
    in proportion to p. The more a label falls short the sooner it is raised, so the classes are sorted by bound / p,
    and the first number of them counts for which the next one stays above its bound. The gradient with respect to the
    logits is p - q; q takes none, because it is the nearest.

    Args:
        log_p: (M, K), log p in nats.
        labels: dense ones; w are their weights.
        alpha: in (0, 1).

    Returns:
        (M,) in nats, at least 0.
    """
    with torch.no_grad():
        bound = labels.weights.to(log_p.dtype).masked_fill(~labels.mask(), 0.0) * (1.0 - alpha)
        shortfall = bound.log() - log_p  # -inf for a class that is no label
        shortfall, order = shortfall.sort(dim=1, descending=True)
        # By what p is scaled, in logarithms, when the classes before are raised: what they leave over what p has left.
        before = bound.gather(1, order).cumsum(dim=1).roll(1, dims=1)
        left = (1.0 - before.index_fill(1, torch.zeros(1, dtype=torch.long, device=before.device), 0.0)).clamp(min=0.0)
        scale = left.log() - log_p.gather(1, order).flip(1).logcumsumexp(dim=1).flip(1)
        raised = (shortfall > scale).long().cumprod(dim=1)
        count = raised.sum(dim=1, keepdim=True)
        scale = scale.gather(1, count.clamp(max=scale.shape[1] - 1))
        is_raised = torch.zeros_like(raised).scatter(1, order, raised).bool()
        q = torch.where(is_raised, bound, (scale + log_p).exp())
    divergence = (torch.special.xlogy(q, q) - q * log_p).sum(dim=1)
    return divergence.masked_fill(count.squeeze(1) == 0, 0.0)


@BASES.register("relaxation")
class LabelRelaxation(Base):
    """Mean label relaxation. It takes the place of label smoothing.

    Args:
        alpha: in (0, 1); 0.1 is the default of the authors' package. Towards 0 the loss becomes cross entropy.

    Raises:
        ValueError: alpha outside (0, 1).
    """

    WEIGHS_SAMPLES = True

    def __init__(self, alpha: float = 0.1):
        super().__init__()
        self.alpha = check_number("alpha", alpha, 0.0, 1.0, above=True, below=True)

    def forward(self, logits: Tensor, labels: Labels) -> tuple[Tensor, dict[str, Tensor]]:
        return self.value(logits, labels), {}

    def value(self, logits: Tensor, labels: Labels) -> Tensor:
        return labels.mean(self.per_sample(logits, labels))

    def per_sample(self, logits: Tensor, labels: Labels) -> Tensor:
        """(M,) in nats."""
        log_p, complement = log_probabilities(logits)
        if labels.dense is not None:
            return relaxation_of_mixture(log_p, labels, self.alpha)
        index = labels.index.unsqueeze(1)
        return relaxation(log_p.gather(1, index), complement.gather(1, index), self.alpha).squeeze(1)
