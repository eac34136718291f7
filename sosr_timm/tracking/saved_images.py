"""--save-images: the images that the model was trained on, saved once in each log interval."""

from __future__ import annotations

from pathlib import Path

import torch
from torch import Tensor

from sosr_timm.data.transforms.image import ImageFormat
from sosr_timm.errors import reason_of


class SavedImages:
    """The last batch of each log interval as a JPEG file in the run folder.

    Args:
        folder: for the files; None to save nothing.
        image_format: to undo the normalisation.
    """

    def __init__(self, folder: Path | None, image_format: ImageFormat):
        self.folder, self.form = folder, image_format
        self.images: Tensor | None = None

    def look(self, images: Tensor) -> None:
        """Keep a batch, (M, C, H, W), until the next one."""
        if self.folder is not None:
            self.images = images

    def save(self, step: int) -> str:
        """Write the last batch.

        Returns:
            why it could not be written; empty where it was.
        """
        if self.folder is None or self.images is None:
            return ""
        from torchvision.utils import save_image

        shape = (-1, 1, 1)
        images = self.images.detach().float().cpu()
        images = images * torch.tensor(self.form.std).view(shape) + torch.tensor(self.form.mean).view(shape)
        # A picture has one channel or three.
        images = images[:, :3] if images.shape[1] >= 3 else images[:, :1]
        try:
            self.folder.mkdir(exist_ok=True)
            save_image(images.clamp(0, 1), str(self.folder / f"train-batch-{step}.jpg"), padding=0)
        except OSError as error:
            return f"images of step {step} not written: {reason_of(error)}"
        return ""
