"""Who takes part in bench_loss.py, and on what."""

from __future__ import annotations

from collections.abc import Callable

import timm.loss
import torch
import torch.nn.functional as F
from torch import Tensor

from sosr_timm import create_loss
from sosr_timm.kernels import use_kernel

REFERENCE = "torch cross entropy"
FOUR = "ce+sosr+maxsup+cp"
COMPILED = "compiled ce+sosr"


def naive_sosr(logits: Tensor, target: Tensor, threshold: float = 0.99, beta: float = 0.5) -> Tensor:
    """ce+sosr sample by sample, as one would write it from the paper's formula."""
    rows, classes = logits.shape
    value = F.cross_entropy(logits, target)
    for z, label in zip(logits, target.tolist(), strict=True):
        p = z.detach().softmax(dim=0)
        if p.argmax().item() == label and p[label].item() > threshold:
            desired = torch.full_like(z, ((z.sum() - z[label]) / (classes - 1)).item())
            desired[label] = z[label].item()
            value = value + beta / (rows * classes) * (z - desired).square().sum()
    return value


def contenders(classes: int) -> dict[str, Callable[[Tensor, Tensor], Tensor]]:
    ours = {name: create_loss(name) for name in ("ce", "ce+sosr", FOUR)}
    ours[FOUR].set_progress(0.0)
    smooth, soft = timm.loss.LabelSmoothingCrossEntropy(0.1), timm.loss.SoftTargetCrossEntropy()

    def plain(logits: Tensor, target: Tensor) -> Tensor:
        with use_kernel("plain"):
            return ours["ce+sosr"](logits, target)

    def soft_target(logits: Tensor, target: Tensor) -> Tensor:
        return soft(logits, F.one_hot(target, classes).to(logits.dtype))

    return {
        REFERENCE: F.cross_entropy,
        "timm label smoothing": smooth,
        "timm soft target": soft_target,
        **{f"ours {name}": loss for name, loss in ours.items()},
        "plain ce+sosr": plain,
        COMPILED: torch.compile(create_loss("ce+sosr"), fullgraph=True, dynamic=False),
        "loop ce+sosr": naive_sosr,
    }


def make_batch(rows: int, classes: int, share: float, device: str) -> tuple[Tensor, Tensor]:
    """Logits that are sure of the label in a share of the rows, and of another class in the rest."""
    generator = torch.Generator().manual_seed(0)
    logits = torch.randn(rows, classes, generator=generator) * 2
    target = logits.argmin(dim=1)
    sure = int(share * rows)
    logits[torch.arange(sure), target[:sure]] += 40.0
    return logits.to(device).requires_grad_(), target.to(device)
