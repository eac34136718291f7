"""Flags of timm that do not fit these programs: for each, one line that says why and what to use instead."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any


@dataclass(frozen=True)
class Refusal:
    """A flag that is known and not taken.

    Attributes:
        default: timm's; a YAML file that holds it, as timm's own args.yaml does, asks for nothing.
        reason: why, and what to use instead.
    """

    default: Any
    reason: str


_NAFLEX = (
    "NaFlex batches are packed sequences of patches, which the exact order, mixing and losses of images do not cover; "
    "--train-img-sizes trains at several sizes"
)
_TORCHSCRIPT = {
    "torchscript": Refusal(False, "torch has deprecated TorchScript; --torchcompile compiles the model"),
    "fuser": Refusal("", "it chooses a fuser of TorchScript, which torch has deprecated; --torchcompile fuses too"),
}

TRAIN_REFUSED = _TORCHSCRIPT | {
    "local_rank": Refusal(
        0, "the launcher tells each process its rank through the environment; use accelerate launch or torchrun"
    ),
    "device_modules": Refusal(None, "torch finds an installed device backend by itself; --device names the device"),
    "naflex_loader": Refusal(False, _NAFLEX),
    "naflex_train_seq_lens": Refusal([128, 256, 576, 784, 1024], _NAFLEX),
    "naflex_max_seq_len": Refusal(576, _NAFLEX),
    "naflex_patch_sizes": Refusal(None, _NAFLEX),
    "naflex_patch_size_probs": Refusal(None, _NAFLEX),
    "naflex_loss_scale": Refusal("linear", _NAFLEX),
    "naflex_patchify_channels_first": Refusal(False, _NAFLEX),
}
_NAFLEX_EVALUATION = "NaFlex batches are packed sequences of patches; --img-size evaluates images at another size"
VALIDATE_REFUSED = _TORCHSCRIPT | {
    "aot_autograd": Refusal(False, "torch.compile does what it was for; use --torchcompile"),
    "tf_preprocessing": Refusal(
        False, "it decodes and resizes with TensorFlow; --interpolation and --crop-mode choose how images are resized"
    ),
    "naflex_loader": Refusal(False, _NAFLEX_EVALUATION),
    "naflex_max_seq_len": Refusal(576, _NAFLEX_EVALUATION),
}
