"""A callback that gives a loss to the Hugging Face Trainer, and saves and restores it."""

from __future__ import annotations

import json
import os
import sys
import warnings
from pathlib import Path
from typing import TYPE_CHECKING, Any

import torch
from safetensors.torch import load_file, save_file
from torch import Tensor, nn
from torch.utils.data import DataLoader

from sosr_timm.data.order.resumable_sampler import ResumableSampler
from sosr_timm.extras import import_extra
from sosr_timm.files import replacing, set_default_mode
from sosr_timm.integrations.loss_epochs import LossEpochs

if TYPE_CHECKING:
    from transformers import TrainerControl, TrainerState, TrainingArguments

transformers = import_extra("transformers", "transformers", "sosr_timm.integrations.transformers")

FILE = "loss.safetensors"
IGNORED = -100  # labels that the Trainer does not count


class LossCallback(transformers.TrainerCallback):
    """Computes the loss, calls its `set_progress` and `end_epoch` over all processes, and saves it in each checkpoint.

        callback = LossCallback(create_loss("ols+sosr", num_classes=10))
        trainer = Trainer(..., compute_loss_func=callback.compute_loss, callbacks=[callback])

    Each `checkpoint-N` gets a file loss.safetensors, which `trainer.train(resume_from_checkpoint=...)` loads.

    Args:
        loss: from `create_loss`.
        checkpoint: path of the checkpoint that training resumes from. Needed only if it is not in `output_dir`, since
            the Trainer does not tell callbacks the path.

    Raises:
        ValueError: the module contains no loss of this package.
    """

    def __init__(self, loss: nn.Module, checkpoint: str | os.PathLike | None = None):
        self.loss = loss
        self.checkpoint = checkpoint
        self.epochs = LossEpochs(loss)
        self.epoch = 0

    def compute_loss(
        self, outputs: Any, labels: Tensor | None, num_items_in_batch: Tensor | int | None = None
    ) -> Tensor:
        """Compute the share of this batch in the mean loss of an update, as `compute_loss_func` of the Trainer.

        Args:
            outputs: of the model: a dictionary with "logits", a tuple whose first element is the logits, or the logits.
            labels: (M,) integers, or (M, K) floats.
            num_items_in_batch: number of labels in all batches of the update, over all processes; None to get the mean
                of this batch.

        Raises:
            ValueError: the batch has no "labels".
        """
        if labels is None:
            raise ValueError(
                "the batch has no 'labels': rename the column of the data set, or return it in data_collator"
            )
        logits = outputs if isinstance(outputs, Tensor) else outputs["logits" if isinstance(outputs, dict) else 0]
        value = self.loss(logits, labels)
        if num_items_in_batch is None:
            return value
        # Labels are counted as the Trainer counts them, so the shares of all batches add up to 1.
        items = torch.as_tensor(num_items_in_batch, device=labels.device).sum()
        return value * (labels.ne(IGNORED).sum() / items.clamp(min=1))

    def on_train_begin(
        self, args: TrainingArguments, state: TrainerState, control: TrainerControl, **kwargs: Any
    ) -> None:
        refuse(args)
        known = state.num_train_epochs < sys.maxsize  # otherwise the data set has no length
        self.epochs = LossEpochs(self.loss, state.num_train_epochs if known else None)
        self.epoch = int(state.epoch)
        if state.global_step:
            self.epochs.load_state_dict(load_file(self.stored(args, state)))
        else:
            self.epochs.forget_counts()

    def on_epoch_begin(
        self,
        args: TrainingArguments,
        state: TrainerState,
        control: TrainerControl,
        train_dataloader: DataLoader | None = None,
        **kwargs: Any,
    ) -> None:
        sampler = sampler_of(train_dataloader)
        if isinstance(sampler, ResumableSampler):
            # Accelerate does not do this when several processes resume in the middle of an epoch.
            sampler.set_epoch(self.epoch)
        progress = state.global_step / max(1, state.max_steps) if self.epochs.epochs is None else None
        self.epochs.start(self.epoch, progress)

    def on_epoch_end(
        self, args: TrainingArguments, state: TrainerState, control: TrainerControl, **kwargs: Any
    ) -> None:
        # The Trainer also calls this when training stops in the middle of an epoch, which may be resumed later.
        if not control.should_training_stop or float(state.epoch).is_integer():
            self.epochs.end(self.epoch)
            self.epoch += 1

    def on_save(self, args: TrainingArguments, state: TrainerState, control: TrainerControl, **kwargs: Any) -> None:
        tensors = self.epochs.state_dict()
        if not args.should_save:
            return
        folder = checkpoint_folder(args, state)
        if state.is_hyper_param_search or not folder.is_dir():  # a trial has its own, unknown directory
            warnings.warn(f"LossCallback: there is no {folder}, so the state of the loss is not saved", stacklevel=2)
            return
        with replacing(folder / FILE) as temporary:
            save_file(tensors, temporary)
            set_default_mode(temporary)

    def stored(self, args: TrainingArguments, state: TrainerState) -> Path:
        """Path of the loss in the checkpoint that training resumes from.

        Raises:
            ValueError: training resumes from another checkpoint, or the checkpoint has no such file.
        """
        folder = Path(self.checkpoint) if self.checkpoint is not None else checkpoint_folder(args, state)
        record = folder / "trainer_state.json"
        # Compared as text, because a logged NaN is not equal to itself.
        history = json.loads(record.read_text())["log_history"] if record.is_file() else None
        if json.dumps(history) != json.dumps(state.log_history):
            raise ValueError(
                f"training does not resume from {folder}: give the path, LossCallback(loss, checkpoint=PATH)"
            )
        if not (folder / FILE).is_file():
            raise ValueError(
                f"{folder} has no {FILE}: it was saved without LossCallback, or the run ended while saving it; "
                "resume from an earlier checkpoint"
            )
        return folder / FILE


def checkpoint_folder(args: TrainingArguments, state: TrainerState) -> Path:
    """Path where the Trainer saves the checkpoint of the current step."""
    return Path(args.output_dir) / f"checkpoint-{state.global_step}"


def sampler_of(loader: DataLoader | None) -> object:
    """Find the sampler of a loader that Accelerate has prepared; None if its data set is iterable."""
    sampler = getattr(loader, "batch_sampler", None)
    while hasattr(sampler, "batch_sampler"):
        sampler = sampler.batch_sampler
    return getattr(sampler, "sampler", None)


def refuse(args: TrainingArguments) -> None:
    """Refuse options that have no effect with this loss, or that save checkpoints without it.

    Raises:
        ValueError: such an option is set.
    """
    if args.label_smoothing_factor:
        raise ValueError("label_smoothing_factor has no effect with compute_loss_func: use the loss ce(smoothing=0.1)")
    if getattr(args, "enable_jit_checkpoint", False):
        raise ValueError(
            "enable_jit_checkpoint is not supported, because it saves without calling callbacks: use save_steps"
        )
