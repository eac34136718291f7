"""How torch computes: as fast as it can, or the same bits each time."""

from __future__ import annotations

import os

import torch


def set_backends(deterministic: bool) -> None:
    """Choose torch's algorithms; call it before anything touches an accelerator.

    Without `deterministic`, cuDNN tries its algorithms and takes the fastest, and float32 products may use TF32, as in
    timm's script. With it, every operation gives the same bits in every run on the same machine, and one that has no
    such algorithm raises RuntimeError. On the CPU all that is used here is deterministic either way.

    Args:
        deterministic: the same bits rather than the highest speed.
    """
    if deterministic:
        # cuBLAS reads it when it is first used; without it torch refuses every matrix product on CUDA.
        os.environ.setdefault("CUBLAS_WORKSPACE_CONFIG", ":4096:8")
    torch.use_deterministic_algorithms(deterministic)
    # Only helps to find reads of memory that was never written, and costs a pass over every new tensor.
    torch.utils.deterministic.fill_uninitialized_memory = False
    torch.backends.cudnn.benchmark = not deterministic
    torch.backends.cudnn.allow_tf32 = torch.backends.cuda.matmul.allow_tf32 = not deterministic
