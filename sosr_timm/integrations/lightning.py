"""A callback for Lightning's Trainer that looks after the losses of a LightningModule."""

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
    """Sets the progress of the losses, ends their epochs over all processes, and saves them in Lightning's checkpoints.

    Without `max_epochs`, the progress of an epoch is the share of `max_steps` that came before it.

    Args:
        loss: what `create_loss` made; None for the losses that are attributes of the LightningModule.

    Raises:
        ValueError: no loss of this package in the LightningModule.
    """

    def __init__(self, loss: nn.Module | None = None):
        self.loss = loss
        self.epochs: LossEpochs | None = None

    def setup(self, trainer: Trainer, pl_module: LightningModule, stage: str) -> None:
        self.epochs = LossEpochs(pl_module if self.loss is None else self.loss)
        # DistributedDataParallel would overwrite every process's sums with those of the first one before each batch.
        ignored = set(getattr(pl_module, "_ddp_params_and_buffers_to_ignore", ()))
        for prefix, loss in losses_in(pl_module).items():
            parts = dict(loss.named_modules(prefix=prefix.removesuffix(".")))
            ignored |= {f"{place}.{name}" for place, part in parts.items() for name in part._buffers}
        pl_module._ddp_params_and_buffers_to_ignore = sorted(ignored)

    def on_train_epoch_start(self, trainer: Trainer, pl_module: LightningModule) -> None:
        self.epochs.start(trainer.current_epoch, progress_of(trainer))

    # An epoch that is resumed in the middle has no other start.
    on_train_start = on_train_epoch_start

    def on_train_epoch_end(self, trainer: Trainer, pl_module: LightningModule) -> None:
        self.epochs.end(trainer.current_epoch)

    def state_dict(self) -> dict[str, Tensor]:
        return self.epochs.state_dict()

    def load_state_dict(self, state_dict: dict[str, Tensor]) -> None:
        self.epochs.load_state_dict(state_dict)


class SamplerCallback(lightning.Callback):
    """Saves how far a `ResumableSampler` is in Lightning's checkpoints, and continues there in the middle of an epoch.

    The training DataLoader must use the sampler, and the Trainer `use_distributed_sampler=False`.
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
    """The progress of the current epoch, by whichever of `max_epochs` and `max_steps` ends first; None without both."""
    shares = []
    if trainer.max_epochs is not None and trainer.max_epochs > 0:
        shares.append(trainer.current_epoch / max(1, trainer.max_epochs - 1))
    if trainer.max_steps > 0:
        shares.append(trainer.global_step / trainer.max_steps)
    return min(1.0, max(shares)) if shares else None
