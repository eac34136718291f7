"""Callbacks for Lightning's Trainer: one for the losses of a LightningModule, one for the order of its data."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from torch import Tensor, nn

from sosr_timm.data.order.resumable_sampler import ResumableSampler
from sosr_timm.extras import import_extra
from sosr_timm.integrations.loss_epochs import LossEpochs, losses_in

if TYPE_CHECKING:
    from lightning.pytorch import LightningModule, Trainer

lightning = import_extra("lightning.pytorch", "lightning", "sosr_timm.integrations.lightning")


class LossCallback(lightning.Callback):
    """Calls `set_progress` and `end_epoch` of the losses over all processes, and saves them in Lightning's checkpoints.

    The progress is epoch / (`max_epochs` - 1). With `max_steps` it is the share of the steps done before the epoch, and
    with both the larger of the two.

    Args:
        loss: from `create_loss`; None to use the losses that are attributes of the LightningModule.

    Raises:
        ValueError: the LightningModule contains no loss of this package.
    """

    def __init__(self, loss: nn.Module | None = None):
        self.loss = loss
        self.epochs: LossEpochs | None = None

    def setup(self, trainer: Trainer, pl_module: LightningModule, stage: str) -> None:
        self.epochs = LossEpochs(pl_module if self.loss is None else self.loss)
        # Before each batch, DistributedDataParallel would overwrite the sums of every process with those of the first.
        ignored = set(getattr(pl_module, "_ddp_params_and_buffers_to_ignore", ()))
        for prefix, loss in losses_in(pl_module).items():
            parts = dict(loss.named_modules(prefix=prefix.removesuffix(".")))
            ignored |= {f"{path}.{name}" for path, part in parts.items() for name in part._buffers}
        pl_module._ddp_params_and_buffers_to_ignore = sorted(ignored)

    def on_train_epoch_start(self, trainer: Trainer, pl_module: LightningModule) -> None:
        self.epochs.start(trainer.current_epoch, progress_of(trainer))

    # For an epoch that is resumed in the middle Lightning calls only this one.
    on_train_start = on_train_epoch_start

    def on_train_epoch_end(self, trainer: Trainer, pl_module: LightningModule) -> None:
        self.epochs.end(trainer.current_epoch)

    def state_dict(self) -> dict[str, Tensor]:
        return self.epochs.state_dict()

    def load_state_dict(self, state_dict: dict[str, Tensor]) -> None:
        self.epochs.load_state_dict(state_dict)


class SamplerCallback(lightning.Callback):
    """Saves the position of a `ResumableSampler` in Lightning's checkpoints, so that an epoch resumes at any batch.

    Give the training DataLoader the same sampler, and the Trainer `use_distributed_sampler=False`.
    """

    def __init__(self, sampler: ResumableSampler):
        self.sampler = sampler

    def on_train_batch_end(
        self, trainer: Trainer, pl_module: LightningModule, outputs: Any, batch: Any, batch_idx: int
    ) -> None:
        self.sampler.advance(trainer.train_dataloader.batch_size)

    def state_dict(self) -> dict[str, int]:
        return self.sampler.state_dict()

    def load_state_dict(self, state_dict: dict[str, int]) -> None:
        self.sampler.load_state_dict(state_dict)


def progress_of(trainer: Trainer) -> float | None:
    """Progress at the start of the epoch, in [0, 1]; None if training has neither `max_epochs` nor `max_steps`."""
    shares = []
    if trainer.max_epochs is not None and trainer.max_epochs > 0:
        shares.append(trainer.current_epoch / max(1, trainer.max_epochs - 1))
    if trainer.max_steps > 0:
        shares.append(trainer.global_step / trainer.max_steps)
    return min(1.0, max(shares)) if shares else None
