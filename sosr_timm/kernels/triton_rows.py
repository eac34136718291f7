"""The row kernel in Triton, as a function of tensors: the same contract as the CPU kernel's."""

from __future__ import annotations

import torch
import triton
from torch import Tensor

from sosr_timm.kernels.triton_kernel import row_kernel
from sosr_timm.kernels.work import CURVES, PARTS, SMOOTHING_PARTS, TERMS, RowWork

ONE_BLOCK = 16_384  # longest row that is held in registers at once


def run_rows(
    logits: Tensor, work: RowWork, gradient: Tensor | None = None, incoming: Tensor | float = 1.0
) -> tuple[Tensor, dict[str, Tensor]]:
    """Compute all terms of a loss and the sum of their gradients; the same contract as the CPU kernel's.

    Args:
        logits: (M, K) float32, bfloat16 or float16, any strides, without a gradient.
        work: the loss and the target.
        gradient: (M, K) contiguous in the dtype of the logits, to be filled, or None.
        incoming: factor of the gradient; a scalar tensor is read by the kernel, not by the host.

    Returns:
        loss: scalar float32.
        parts: scalars float32: means over the rows of what each of the work's terms contributes.

    Raises:
        RuntimeError: torch's own (on the device), for a class index outside [0, K).
    """
    rows, classes = logits.shape
    device = logits.device
    values = torch.empty(len(PARTS), rows, dtype=torch.float32, device=device)
    dense, soft_labels = work.dense, work.soft_labels
    if work.index is not None:
        logits.gather(1, work.index.unsqueeze(1))
    elif soft_labels is not None:  # mixed soft labels are a product of matrices
        soft_labels = dense.float() @ soft_labels.float()
    block = min(triton.next_power_of_2(classes), ONE_BLOCK)
    changing = isinstance(work.spread, Tensor)
    nothing = values  # for a pointer that is not read
    row_kernel[(rows,)](
        logits,
        nothing if gradient is None else gradient,
        values,
        nothing if work.index is None else work.index,
        nothing if dense is None else dense.float().contiguous(),
        nothing if soft_labels is None else soft_labels,
        nothing if work.probability_sum is None else work.probability_sum,
        nothing if work.correct_count is None else work.correct_count,
        scalar(incoming, device),
        scalar(work.maxsup or 0.0, device),
        scalar(work.spread, device) if changing else nothing,
        rows,
        classes,
        logits.stride(0),
        logits.stride(1),
        1.0 / rows,
        0.0 if changing else work.hard,
        0.0 if changing else work.spread,
        work.offset,
        work.curve_parameter,
        work.dense_smoothing,
        work.label_weight,
        work.alpha,
        work.threshold,
        work.beta or 0.0,
        work.cp or 0.0,
        work.logit_penalty or 0.0,
        work.margin,
        work.margin_weight or 0.0,
        work.part_weight,
        DENSE=work.index is None,
        SOFT=soft_labels is not None,
        COUNT=work.probability_sum is not None,
        SOSR=work.beta is not None,
        GRADIENT=gradient is not None,
        CHANGING=changing,
        CURVE=CURVES.get(work.curve, 0),
        LOGIT=work.logit_penalty is not None,
        MARGIN=work.margin_weight is not None,
        PART=SMOOTHING_PARTS.get(work.part, 0),
        ONCE=block >= classes,
        BLOCK=block,
        num_warps=max(1, min(16, block // 512)),
    )
    means = values.mean(dim=1)
    parts = dict(zip(PARTS, means.unbind(), strict=True))
    return means[: len(TERMS)].sum(), {name: parts[name] for name in work.parts}


def scalar(value: Tensor | float, device: torch.device) -> Tensor:
    """() float32 on the device, made without waiting for it."""
    if isinstance(value, Tensor) and value.device == device:
        return value.float()
    return torch.full((), float(value), dtype=torch.float32, device=device)
