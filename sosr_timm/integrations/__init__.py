"""The losses in other training loops: Lightning, the Hugging Face Trainer, and loops written by hand."""

from sosr_timm.integrations.loss_epochs import LossEpochs
from sosr_timm.integrations.processes import sum_over_processes

__all__ = ["LossEpochs", "sum_over_processes"]
