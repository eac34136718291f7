"""Checkpoints of timm's train.py and of torchvision's training reference: what of them a run here can continue from."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Any

from timm.models import clean_state_dict
from timm.utils.checkpoint_saver import load_checkpoint_metadata
from torch import Tensor

from sosr_timm.errors import UserError, one_line

# The newest checkpoint of a folder, as timm and torchvision call it.
NEWEST = ("last.pth.tar", "checkpoint.pth")
TIMMS_OPTIONS = "args.yaml"


@dataclass(frozen=True)
class ForeignCheckpoint:
    """The state of a training run by another program.

    Attributes:
        weights: state dict of the model.
        ema: state dict of its EMA; None without one.
        optimizer: state dict.
        scaler: state dict of the loss scaler; None without one.
        epoch: number of epochs done.
    """

    weights: dict[str, Tensor]
    ema: dict[str, Tensor] | None
    optimizer: dict[str, Any] | None
    scaler: dict[str, Any] | None
    epoch: int


def foreign_file(path: Path) -> Path | None:
    """The checkpoint that a path names: a file, or a folder's newest one; None where there is none."""
    if path.is_file():
        return path
    return next((path / name for name in NEWEST if (path / name).is_file()), None)


def read_foreign(path: Path) -> ForeignCheckpoint:
    """Read a checkpoint without executing what it holds.

    Raises:
        UserError: the file cannot be read so, or holds no more than weights.
    """
    start = f"--initial-checkpoint {path} starts a new run from its weights"
    try:
        content = load_checkpoint_metadata(str(path))
    except Exception as error:  # a foreign file can fail in any way
        raise UserError(f"--resume {path}: cannot be read without executing it ({one_line(error)})") from None
    keys = content.keys() if isinstance(content, dict) else ()
    if not {"epoch", "optimizer"} <= keys or not {"state_dict", "model"} & keys:
        raise UserError(f"--resume {path}: holds no optimizer and epoch; {start}")
    of_timm = "state_dict" in content
    names = ("state_dict", "state_dict_ema", "amp_scaler") if of_timm else ("model", "model_ema", "scaler")
    weights, ema, scaler = (content.get(name) for name in names)
    try:
        # Up to version 1 timm counted the epoch up before it saved.
        done = int(content["epoch"]) + (not of_timm or content.get("version", 1) > 1)
        states = [state and clean_state_dict(state) for state in (weights, ema)]
    except (TypeError, ValueError, AttributeError) as error:
        raise UserError(f"--resume {path}: not a checkpoint of timm or torchvision ({one_line(error)})") from None
    if states[1]:
        states[1] = {name: tensor for name, tensor in states[1].items() if name != "n_averaged"}
    return ForeignCheckpoint(states[0], states[1] or None, content["optimizer"], scaler, done)
