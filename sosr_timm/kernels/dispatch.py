"""The choice of a kernel, and what overrides it: SOSR_TIMM_KERNEL or `use_kernel`."""

from __future__ import annotations

import contextlib
import os
from collections.abc import Callable, Iterator

import torch
from torch import Tensor, nn

from sosr_timm.kernels.function import with_gradient
from sosr_timm.kernels.work import RowWork

VARIABLE = "SOSR_TIMM_KERNEL"
KERNELS = ("plain", "cpu", "triton")
PLAIN_TENSORS = (Tensor, nn.Parameter)
TRITON_DTYPES = (torch.float32, torch.bfloat16, torch.float16)


def choose_kernel(logits: Tensor, dense: Tensor | None = None) -> str:
    """Choose which of `KERNELS` computes a loss that all of them support.

    "plain", the composition of torch operations, is used wherever these are transformed: under `torch.compile`,
    tracing, `torch.func` and forward-mode differentiation, for tensors without data and for subclasses of tensors; and
    where a dense target requires a gradient.

    Args:
        logits: (M, K).
        dense: (M, K) target, or None with class indices.

    Raises:
        ValueError: the override is not a kernel's name, or that kernel does not support these logits.
    """
    if torch.compiler.is_compiling():
        return "plain"
    if transformed() or type(logits) not in PLAIN_TENSORS:
        return "plain"
    if dense is not None and (type(dense) not in PLAIN_TENSORS or (dense.requires_grad and torch.is_grad_enabled())):
        return "plain"
    asked = os.environ.get(VARIABLE)
    if not asked:
        return default_kernel(logits)
    if asked not in KERNELS:
        raise ValueError(f"{VARIABLE} must be one of {', '.join(KERNELS)}, got {asked!r}")
    if asked == "cpu" and logits.device.type != "cpu":
        raise ValueError(f"{VARIABLE}=cpu, but the logits are on {logits.device}")
    if asked == "triton" and logits.dtype not in TRITON_DTYPES:
        raise ValueError(f"{VARIABLE}=triton takes float32, bfloat16 and float16 logits, got {logits.dtype}")
    return asked


def default_kernel(logits: Tensor) -> str:
    """Choose a kernel without an override: the row kernel on the CPU, torch's operations elsewhere.

    The Triton kernel has passed its tests in Triton's interpreter and compiles for CUDA, but has not run on a GPU yet.
    Until it has, it is used only where SOSR_TIMM_KERNEL=triton asks for it.
    """
    return "cpu" if logits.device.type == "cpu" else "plain"


def transformed() -> bool:
    """Whether torch is tracing, or differentiating by anything but plain backward."""
    return (
        torch.jit.is_tracing()
        or torch._C._are_functorch_transforms_active()
        or torch.autograd.forward_ad._current_level >= 0
    )


@contextlib.contextmanager
def use_kernel(name: str) -> Iterator[None]:
    """Use one kernel for all losses in this context, "plain", "cpu" or "triton"; for tests and comparisons.

    Raises:
        ValueError: not a kernel's name; at the call of a loss, a kernel that does not support the logits.
    """
    if name not in KERNELS:
        raise ValueError(f"a kernel is one of {', '.join(KERNELS)}, got {name!r}")
    before = os.environ.get(VARIABLE)
    os.environ[VARIABLE] = name
    try:
        yield
    finally:
        if before is None:
            del os.environ[VARIABLE]
        else:
            os.environ[VARIABLE] = before


def row_loss(
    kernel: str, logits: Tensor, work: RowWork, plain: Callable[[Tensor], Tensor]
) -> tuple[Tensor, dict[str, Tensor]]:
    """Compute a loss by a kernel other than "plain".

    Args:
        kernel: "cpu" or "triton", as `choose_kernel` says.
        logits: (M, K) floating point.
        work: the loss and the target.
        plain: the same loss of the logits by torch operations and without side effects, for higher derivatives.

    Returns:
        loss: scalar with a gradient, float32 or float64.
        parts: scalars without a gradient: what each term contributes, and the share of rows that SOSR selects.
    """
    if kernel == "triton":
        from sosr_timm.kernels.triton_rows import run_rows
    else:
        from sosr_timm.kernels.cpu import run_rows
    return with_gradient(run_rows, logits, work, plain)
