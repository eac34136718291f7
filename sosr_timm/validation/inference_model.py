"""A model as it is evaluated: fused, pooled, cast, compiled, with only the classes that may be guessed."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace

import torch
from timm.layers import apply_test_time_pool
from timm.utils import reparameterize_model
from torch import Tensor, nn

from sosr_timm.data.transforms.image import ImageFormat
from sosr_timm.errors import UserError
from sosr_timm.options.validate import EvaluatedModelOptions
from sosr_timm.setup.model import try_model
from sosr_timm.setup.task import check_compiler


class Placed(nn.Module):
    """Images as the loader gives them -> logits as the metrics take them.

    Args:
        model: (M, C, H, W) -> (M, K).
        dtype: of its weights and images.
        allowed: classes that may be guessed; the logits of all others are left out, or where `renumbered` is false
            become minus infinity.
        renumbered: labels count the allowed classes only.
    """

    def __init__(self, model: nn.Module, dtype: torch.dtype, allowed: Sequence[int] | None, renumbered: bool):
        super().__init__()
        self.model, self.dtype, self.renumbered = model, dtype, renumbered
        self.register_buffer("allowed", None if allowed is None else torch.tensor(allowed, dtype=torch.int64))

    def forward(self, images: Tensor) -> Tensor:
        return self.select(self.model(images.to(self.dtype)))

    def select(self, logits: Tensor) -> Tensor:
        """The logits of the classes that may be guessed."""
        if self.allowed is None:
            return logits
        part = logits.index_select(1, self.allowed)
        if self.renumbered:
            return part
        return torch.full_like(logits, -torch.inf).index_copy(1, self.allowed, part)


def pooled_at_test_time(model: nn.Module, form: ImageFormat) -> tuple[nn.Module, ImageFormat]:
    """The model with test-time pooling where images are larger than it was made for; they are then not cropped.

    Raises:
        UserError: the images are not larger, or the model has no such pooling.
    """
    try:
        pooled, applied = apply_test_time_pool(model, {"input_size": form.input_size})
    except (AttributeError, KeyError, TypeError, RuntimeError, ValueError) as error:
        raise UserError(f"--test-pool: this model cannot pool at test time ({type(error).__name__}: {error})") from None
    if not applied:
        made_for = (getattr(model, "default_cfg", None) or {}).get("input_size")
        raise UserError(
            f"--test-pool: images of {form.height} x {form.width} are not larger than the model's own ({made_for}); "
            "give a larger --img-size"
        )
    return pooled, replace(form, crop_pct=1.0)


def place(
    model: nn.Module,
    form: ImageFormat,
    options: EvaluatedModelOptions,
    device: torch.device,
    allowed: Sequence[int] | None = None,
    renumbered: bool = True,
) -> tuple[nn.Module, ImageFormat]:
    """A model made ready on its device, and what it is fed.

    Args:
        model: with its weights.
        form: what it is fed without test-time pooling.
        options: how it is to run.
        device: where.
        allowed, renumbered: as in `Placed`.

    Raises:
        UserError: the model has no test-time pooling or nothing to pool, does not take the images, or cannot be
            compiled so.
    """
    if options.reparam:
        model = reparameterize_model(model)
    if options.test_pool:
        model, form = pooled_at_test_time(model, form)
    dtype = getattr(torch, options.model_dtype or "float32")
    model = model.to(device=device, dtype=dtype)
    if options.channels_last:
        model = model.to(memory_format=torch.channels_last)
    try_model(model, [form])
    if options.torchcompile:
        check_compiler(options.torchcompile, options.torchcompile_mode)
        model = torch.compile(model, backend=options.torchcompile, mode=options.torchcompile_mode)
    return Placed(model, dtype, allowed, renumbered).to(device), form
