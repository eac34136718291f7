"""What --record-features records: the penultimate features of the training forward passes of an epoch.

Figure 3 of the SOSR paper (Cheng et al. 2021, arXiv 2103.15383) plots such features of two dimensions.
"""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor, nn

from sosr_timm.data.loaders.batch import Batch
from sosr_timm.errors import UserError

MOST_DIMENSIONS = 16  # more would fill the disk, and nobody could plot them


class FeatureRecord:
    """The features of an epoch's training samples, in the order in which this process saw them.

    Args:
        model: whose classifier's input is recorded, in training mode; None records nothing.
        samples: of this process in an epoch.
        device: of the features.

    Raises:
        UserError: the model has no classifier, or features of too many dimensions.
    """

    def __init__(self, model: nn.Module | None = None, samples: int = 0, device: torch.device | str = "cpu"):
        self.seen: Tensor | None = None
        self.count = 0
        self.values = self.indices = torch.empty(0)
        self.active = model is not None
        if model is None:
            return
        dimensions = getattr(model, "head_hidden_size", 0)
        if not dimensions or dimensions > MOST_DIMENSIONS:
            raise UserError(
                f"--record-features is for models with at most {MOST_DIMENSIONS} penultimate features, such as "
                f"cifar_resnet110_2d; this one has {dimensions or 'an unknown number'}"
            )
        self.values = torch.zeros(samples, dimensions, device=device)
        self.indices = torch.zeros(samples, dtype=torch.int64)
        model.get_classifier().register_forward_pre_hook(self._see)

    def _see(self, module: nn.Module, arguments: tuple[Tensor, ...]) -> None:
        if module.training and torch.is_grad_enabled():
            self.seen = arguments[0].detach()

    def watch(self, batch: Batch) -> None:
        """Keep the features that the classifier has just seen."""
        if not self.active or self.seen is None:
            return
        rows = slice(self.count, self.count + len(batch.indices))
        self.values[rows] = self.seen[: len(batch.indices)].to(self.values.dtype)
        self.indices[rows] = torch.as_tensor(batch.indices)
        self.count, self.seen = rows.stop, None

    def read_epoch(self) -> tuple[Tensor, Tensor]:
        """(M, D) features and (M,) positions in the data set of the epoch, which starts anew."""
        found = self.values[: self.count].cpu(), self.indices[: self.count].clone()
        self.count = 0
        return found

    def state_dict(self) -> dict[str, Any]:
        return {"count": self.count, "values": self.values[: self.count], "indices": self.indices[: self.count]}

    def load_state_dict(self, state: dict[str, Any]) -> None:
        self.count = state["count"]
        self.values[: self.count] = state["values"].to(self.values)
        self.indices[: self.count] = state["indices"]
