"""Row kernels: value and gradient of the complete loss from one read of the logits; see docs/kernels.md."""

from sosr_timm.kernels.dispatch import choose_kernel, row_loss, use_kernel
from sosr_timm.kernels.work import RowWork

__all__ = ["RowWork", "choose_kernel", "row_loss", "use_kernel"]
