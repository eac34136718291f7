"""The autograd function around a row kernel: the gradient is computed with the values and stored for backward."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import torch
from torch import Tensor

from sosr_timm.kernels.work import RowWork


@dataclass
class Made:
    """A loss with its gradient, and what computes them again.

    Attributes:
        loss: scalar.
        gradient: (M, K) for an incoming gradient of 1; None where only backward can compute it.
        work: the loss and the target.
        run_rows: the kernel.
        plain: the same loss of the logits by torch operations and without side effects.
    """

    loss: Tensor
    gradient: Tensor | None
    work: RowWork
    run_rows: Callable
    plain: Callable[[Tensor], Tensor]


class RowFunction(torch.autograd.Function):
    """The loss of a batch of rows, whose gradient for an incoming gradient of 1 was computed with it.

    Backward multiplies that gradient in place and hands it over. Three cases compute it in backward instead, from the
    logits: float16, where a gradient that the loss scale has not yet enlarged would underflow; a second backward
    through a retained graph, whose gradient was handed over by the first; and `create_graph=True`, which differentiates
    the plain loss so that higher derivatives are right.
    """

    @staticmethod
    def forward(ctx, logits: Tensor, made: Made) -> Tensor:
        # Handed over in one object, because each tensor among the arguments costs a small batch some microseconds, and
        # an argument that is given back has to be copied.
        ctx.save_for_backward(logits)
        # The object itself is not kept: it holds the loss, whose graph holds this context, and only the collector of
        # cycles would free the gradient of a loss that is never differentiated.
        ctx.gradient, ctx.work, ctx.run_rows, ctx.plain = made.gradient, made.work, made.run_rows, made.plain
        return made.loss

    @staticmethod
    def backward(ctx, incoming: Tensor) -> tuple[Tensor, None]:
        if torch.is_grad_enabled():
            (logits,) = ctx.saved_tensors
            (gradient,) = torch.autograd.grad(ctx.plain(logits), logits, incoming, create_graph=True)
        elif ctx.gradient is not None:
            gradient, ctx.gradient = ctx.gradient, None
            # Reading a number on the CPU waits for nothing; elsewhere it would, so there it is always multiplied.
            if incoming.device.type != "cpu" or incoming.item() != 1.0:
                gradient.mul_(incoming)
        else:
            (logits,) = ctx.saved_tensors
            gradient = torch.empty_like(logits, memory_format=torch.contiguous_format)
            ctx.run_rows(logits.detach(), ctx.work.without_counting(), gradient, incoming)
        return gradient, None


def with_gradient(
    run_rows: Callable, logits: Tensor, work: RowWork, plain: Callable[[Tensor], Tensor]
) -> tuple[Tensor, dict[str, Tensor]]:
    """Compute a loss by a kernel, with a gradient where the logits require one, and its parts.

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
    return RowFunction.apply(logits, Made(loss, gradient, work, run_rows, plain)), parts
