"""The autograd function around a row kernel: the gradient is made with the values and waits for backward."""

from __future__ import annotations

from collections.abc import Callable

import torch
from torch import Tensor

from sosr_timm.kernels.work import RowWork


class RowFunction(torch.autograd.Function):
    """Loss and parts of a batch of rows.

    Forward reads the logits once and writes the gradient for an incoming gradient of 1; backward multiplies it in place
    and hands it over. Three cases compute it in backward instead, from the logits: float16, where a gradient that the
    loss scale has not yet enlarged would underflow; a second backward through a retained graph, whose gradient was
    handed over by the first; and `create_graph=True`, which differentiates the plain loss so that higher derivatives
    are right.
    """

    @staticmethod
    def forward(
        ctx, logits: Tensor, work: RowWork, run_rows: Callable, plain: Callable[[Tensor], Tensor], wanted: bool
    ) -> tuple[Tensor, Tensor]:
        ctx.set_materialize_grads(False)
        values = logits.detach()
        gradient = None
        if wanted and logits.dtype != torch.float16:
            gradient = torch.empty_like(values, memory_format=torch.contiguous_format)
        parts = run_rows(values, work, gradient)
        total = parts[:-1].sum()
        if wanted:
            ctx.save_for_backward(logits)
            ctx.gradient, ctx.work, ctx.run_rows, ctx.plain = gradient, work, run_rows, plain
        ctx.mark_non_differentiable(parts)
        return total, parts

    @staticmethod
    def backward(ctx, incoming: Tensor | None, _) -> tuple[Tensor | None, ...]:
        if incoming is None:
            gradient = None
        elif torch.is_grad_enabled():
            (logits,) = ctx.saved_tensors
            (gradient,) = torch.autograd.grad(ctx.plain(logits), logits, incoming, create_graph=True)
        elif ctx.gradient is not None:
            gradient, ctx.gradient = ctx.gradient, None
            # Reading a number on the CPU waits for nothing; elsewhere it would, so there it is multiplied unseen.
            if incoming.device.type != "cpu" or incoming != 1:
                gradient.mul_(incoming)
        else:
            (logits,) = ctx.saved_tensors
            gradient = torch.empty_like(logits, memory_format=torch.contiguous_format)
            ctx.run_rows(logits.detach(), ctx.work.without_counting(), gradient, incoming)
        return gradient, None, None, None, None
