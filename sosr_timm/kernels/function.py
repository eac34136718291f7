"""The autograd function around a row kernel: the gradient is made with the values and waits for backward."""

from __future__ import annotations

from collections.abc import Callable

import torch
from torch import Tensor

from sosr_timm.kernels.work import RowWork


class RowFunction(torch.autograd.Function):
    """The loss of a batch of rows, whose gradient for an incoming gradient of 1 was made with it.

    Backward multiplies that gradient in place and hands it over. Three cases compute it in backward instead, from the
    logits: float16, where a gradient that the loss scale has not yet enlarged would underflow; a second backward
    through a retained graph, whose gradient was handed over by the first; and `create_graph=True`, which differentiates
    the plain loss so that higher derivatives are right.
    """

    @staticmethod
    def forward(
        ctx,
        logits: Tensor,
        loss: Tensor,
        gradient: Tensor | None,
        work: RowWork,
        run_rows: Callable,
        plain: Callable[[Tensor], Tensor],
    ) -> Tensor:
        ctx.save_for_backward(logits)
        ctx.gradient, ctx.work, ctx.run_rows, ctx.plain = gradient, work, run_rows, plain
        return loss.clone()

    @staticmethod
    def backward(ctx, incoming: Tensor) -> tuple[Tensor | None, ...]:
        if torch.is_grad_enabled():
            (logits,) = ctx.saved_tensors
            (gradient,) = torch.autograd.grad(ctx.plain(logits), logits, incoming, create_graph=True)
        elif ctx.gradient is not None:
            gradient, ctx.gradient = ctx.gradient, None
            # Reading a number on the CPU waits for nothing; elsewhere it would, so there it is multiplied unseen.
            if incoming.device.type != "cpu" or incoming.item() != 1.0:
                gradient.mul_(incoming)
        else:
            (logits,) = ctx.saved_tensors
            gradient = torch.empty_like(logits, memory_format=torch.contiguous_format)
            ctx.run_rows(logits.detach(), ctx.work.without_counting(), gradient, incoming)
        return gradient, None, None, None, None, None


def with_gradient(
    run_rows: Callable, logits: Tensor, work: RowWork, plain: Callable[[Tensor], Tensor]
) -> tuple[Tensor, dict[str, Tensor]]:
    """Loss, with a gradient where the logits want one, and parts, by a kernel.

    Args:
        run_rows: the kernel.
        logits: (M, K) floating point.
        work: the loss and the target.
        plain: the same loss of the logits by torch operations and without side effects.

    Returns:
        loss: scalar, and the parts by name, as the kernel gives them.
    """
    values = logits.detach()
    if not (torch.is_grad_enabled() and logits.requires_grad):
        return run_rows(values, work)
    gradient = None
    if logits.dtype != torch.float16:
        gradient = torch.empty_like(values, memory_format=torch.contiguous_format)
    loss, parts = run_rows(values, work, gradient)
    return RowFunction.apply(logits, loss, gradient, work, run_rows, plain), parts
