"""A callback for the Trainer of transformers that gives it a loss and looks after it."""

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
    """Computes the loss, sets its progress, ends its epochs over all processes, and saves it beside each checkpoint.

        callback = LossCallback(create_loss("ols+sosr", num_classes=10))
        trainer = Trainer(..., compute_loss_func=callback.compute_loss, callbacks=[callback])

    Each `checkpoint-N` gets a file loss.safetensors, and `trainer.train(resume_from_checkpoint=...)` continues from it.

    Args:
        loss: what `create_loss` made.
        checkpoint: the checkpoint that training resumes from, if that is not in `output_dir`: a callback is not told.

    Raises:
        ValueError: no loss of this package.
    """

    def __init__(self, loss: nn.Module, checkpoint: str | os.PathLike | None = None):
        self.loss = loss
        self.checkpoint = checkpoint
        self.epochs = LossEpochs(loss)
        self.epoch = 0

    def compute_loss(
        self, outputs: Any, labels: Tensor | None, num_items_in_batch: Tensor | int | None = None
    ) -> Tensor:
        """The loss as the Trainer's `compute_loss_func`: this batch's share of the mean over all accumulated batches.

        Args:
            outputs: what the model returned: a dictionary with "logits", a tuple that begins with them, or them.
            labels: (M,) integers, or (M, K) floats.
            num_items_in_batch: labels in the batches of this update, over all processes; None for this batch's alone.

        Raises:
            ValueError: a batch without "labels".
        """
        if labels is None:
            raise ValueError(
                "the batch has no 'labels': rename the column of the data set, or return it in data_collator"
            )
        logits = outputs if isinstance(outputs, Tensor) else outputs["logits" if isinstance(outputs, dict) else 0]
        value = self.loss(logits, labels)
        if num_items_in_batch is None:
            return value
        # Counted as the Trainer counts, so that the shares add up to 1 whatever the form of the labels.
        items = torch.as_tensor(num_items_in_batch, device=labels.device).sum()
        return value * (labels.ne(IGNORED).sum() / items.clamp(min=1))

    def on_train_begin(
        self, args: TrainingArguments, state: TrainerState, control: TrainerControl, **kwargs: Any
    ) -> None:
        refuse(args)
        known = state.num_train_epochs < sys.maxsize  # else a stream of max_steps batches
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
            # Accelerate does not reach it in an epoch that several processes resume in the middle.
            sampler.set_epoch(self.epoch)
        stream = state.global_step / max(1, state.max_steps)
        self.epochs.start(self.epoch, stream if self.epochs.epochs is None else None)

    def on_epoch_end(
        self, args: TrainingArguments, state: TrainerState, control: TrainerControl, **kwargs: Any
    ) -> None:
        # Training that is stopped in the middle of an epoch ends here too, and may be resumed there.
        if not control.should_training_stop or float(state.epoch).is_integer():
            self.epochs.end(self.epoch)
            self.epoch += 1

    def on_save(self, args: TrainingArguments, state: TrainerState, control: TrainerControl, **kwargs: Any) -> None:
        tensors = self.epochs.state_dict()
        if not args.should_save:
            return
        folder = checkpoint_folder(args, state)
        if state.is_hyper_param_search or not folder.is_dir():  # a trial has a directory that nobody tells
            warnings.warn(f"LossCallback found no {folder}: the state of the loss is not saved", stacklevel=2)
            return
        with replacing(folder / FILE) as temporary:
            save_file(tensors, temporary)
            set_default_mode(temporary)

    def stored(self, args: TrainingArguments, state: TrainerState) -> Path:
        """The file of the checkpoint that training resumes from.

        Raises:
            ValueError: the checkpoint is another one, or has no such file.
        """
        folder = Path(self.checkpoint) if self.checkpoint is not None else checkpoint_folder(args, state)
        record = folder / "trainer_state.json"
        # Text, because a logged NaN is not equal to itself.
        history = json.loads(record.read_text())["log_history"] if record.is_file() else None
        if json.dumps(history) != json.dumps(state.log_history):
            raise ValueError(
                f"training does not resume from {folder}: name the checkpoint, LossCallback(loss, checkpoint=PATH)"
            )
        if not (folder / FILE).is_file():
            raise ValueError(
                f"{folder} has no {FILE}: it was saved without LossCallback, or the run ended while saving it; "
                "resume from an earlier checkpoint"
            )
        return folder / FILE


def checkpoint_folder(args: TrainingArguments, state: TrainerState) -> Path:
    """Where the Trainer saves the checkpoint of the present step."""
    return Path(args.output_dir) / f"checkpoint-{state.global_step}"


def sampler_of(loader: DataLoader | None) -> object:
    """The sampler of single samples in a loader that Accelerate has prepared; None for a stream."""
    sampler = getattr(loader, "batch_sampler", None)
    while hasattr(sampler, "batch_sampler"):
        sampler = sampler.batch_sampler
    return getattr(sampler, "sampler", None)


def refuse(args: TrainingArguments) -> None:
    """Options that would act beside the loss, or save without its state.

    Raises:
        ValueError: one of them is set.
    """
    if args.label_smoothing_factor:
        raise ValueError(
            "label_smoothing_factor has no effect with compute_loss_func: write it into the loss, ce(smoothing=0.1)"
        )
    if getattr(args, "enable_jit_checkpoint", False):
        raise ValueError("enable_jit_checkpoint saves without calling callbacks, so without the loss: use save_steps")
