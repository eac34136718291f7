"""What is trained: the detector, and the losses that it computes itself."""

from __future__ import annotations

from typing import Any

import torch
from timm.task import TrainingTask
from torch import Tensor, nn

from sosr_timm.detection.batches import Boxes

PARTS = ("classification", "box")


class DetectionLoss(nn.Module):
    """The losses of a detector as a run sees them; they have no state and no schedule.

    Attributes:
        full_form: the loss in words, for files and the screen.
    """

    additive_state: tuple[str, ...] = ()
    smoothing = 0.0

    def __init__(self, box_loss: str):
        super().__init__()
        self.full_form = f"focal(gamma=2, alpha=0.25)+{box_loss}"

    def set_progress(self, progress: float) -> None:
        """Nothing changes over the epochs."""

    def end_epoch(self, sum_over_ranks: Any = None) -> None:
        """Nothing is learned from an epoch."""


class DetectionTask(TrainingTask):
    """timm's task around a detector.

    Args:
        detector: in training it gives its losses.
        device: that it is on.
    """

    def __init__(self, detector: nn.Module, device: torch.device):
        super().__init__(device=device, verbose=False)
        self.trainable_module = detector

    def forward(self, images: Tensor, target: Boxes) -> dict[str, Tensor]:
        """The loss of a batch and its parts.

        Args:
            images: (M, C, H, W) in [0, 1], padded.
            target: sizes, boxes and labels.
        """
        losses = self.trainable_module(images, target.sizes, target.boxes, target.labels)
        classification, box = losses["classification"].float(), losses["bbox_regression"].float()
        return {"loss": classification + box, "classification": classification, "box": box}
