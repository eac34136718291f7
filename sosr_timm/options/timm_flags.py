"""Flags of timm, of any version, that are no option here or have another meaning here, and how each is handled."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any

from sosr_timm.errors import UserError


@dataclass(frozen=True)
class Refusal:
    """A flag that ends the program.

    Attributes:
        default: timm's; a YAML file that holds it, as timm's own args.yaml does, asks for nothing.
        reason: why, and what to use instead.
    """

    default: Any
    reason: str


@dataclass(frozen=True)
class Foreign:
    """A flag that is read and is no option: it has no effect, or it sets options of another name.

    Attributes:
        default: timm's; a YAML file that holds it asks for nothing.
        reason: why it has no effect, or is read as another one.
        becomes: the options that it sets where they are not set themselves; none where it has no effect.
        nargs: how many values follow it, as argparse counts them; 0 for a switch.
    """

    default: Any
    reason: str
    becomes: dict[str, Any] = field(default_factory=dict)
    nargs: int | str = 0

    @property
    def means(self) -> str:
        """What it is read as, in flags."""
        words = [name if value is True else f"{name} {value}" for name, value in self.becomes.items()]
        return " ".join("--" + word.replace("_", "-") for word in words)


@dataclass(frozen=True)
class Difference:
    """What a flag means in timm, where an option of the same name means something else.

    Attributes:
        timm: what it does there.
        said: at the start of a run that uses it.
    """

    timm: str
    said: bool = True


_NAFLEX = "NaFlex batches are packed sequences of patches, which the exact order, mixing and losses do not cover"
_ONLY_NAFLEX = "it belongs to --naflex-loader, which is not supported"
_NATIVE = "mixed precision is torch's own; Apex is not supported"
_COMPILED = "--torchcompile compiles the model"

_BOTH = {
    "torchscript": Foreign(False, f"torch has deprecated TorchScript; {_COMPILED}"),
    "fuser": Foreign("", f"it chooses a fuser of TorchScript, which torch has deprecated; {_COMPILED}", nargs=1),
    "aot_autograd": Foreign(False, f"torch.compile does what it was for; {_COMPILED}"),
    "amp_impl": Foreign("native", _NATIVE, nargs=1),
    "apex_amp": Foreign(False, _NATIVE, {"amp": True}),
    "native_amp": Foreign(False, "mixed precision is always torch's own", {"amp": True}),
    "naflex_max_seq_len": Foreign(576, _ONLY_NAFLEX, nargs=1),
}
TRAIN_FOREIGN = _BOTH | {
    "local_rank": Foreign(0, "the launcher tells each process its rank through the environment", nargs=1),
    "device_modules": Foreign(None, "torch finds an installed device backend by itself", nargs="+"),
    "jsd": Foreign(False, "timm has renamed it", {"jsd_loss": True}),
    "bn_tf": Foreign(False, "these are TensorFlow's values", {"bn_momentum": 0.01, "bn_eps": 0.001}),
    "naflex_train_seq_lens": Foreign([128, 256, 576, 784, 1024], _ONLY_NAFLEX, nargs="+"),
    "naflex_patch_sizes": Foreign(None, _ONLY_NAFLEX, nargs="+"),
    "naflex_patch_size_probs": Foreign(None, _ONLY_NAFLEX, nargs="+"),
    "naflex_loss_scale": Foreign("linear", _ONLY_NAFLEX, nargs=1),
    "naflex_patchify_channels_first": Foreign(False, _ONLY_NAFLEX),
}
VALIDATE_FOREIGN = _BOTH
TRAIN_REFUSED = {"naflex_loader": Refusal(False, f"{_NAFLEX}; --train-img-sizes trains at several sizes")}
VALIDATE_REFUSED = {
    "naflex_loader": Refusal(
        False, "NaFlex batches are packed sequences of patches; --img-size evaluates images at another size"
    ),
    "tf_preprocessing": Refusal(
        False, "it decodes and resizes with TensorFlow; --interpolation and --crop-mode choose how images are resized"
    ),
}

_NO_STREAMS = Difference(
    "also the streams hfids/ and tfds/, which are refused here; wds/ is a stream there, read by position here",
    said=False,
)
_LENGTH = Difference("the length of a data set that is a stream; ignored for others")
TRAIN_DIFFERENT = {
    "dataset": _NO_STREAMS,
    "train_num_samples": _LENGTH,
    "val_num_samples": _LENGTH,
    "epoch_repeats": Difference("passes over a data set that is a stream; ignored for others"),
    "train_steps_per_epoch": Difference("for streams and --train-img-sizes only"),
    "aug_repeats": Difference("with several processes only", said=False),
    "checkpoint_hist": Difference("the number of best checkpoints to keep", said=False),
    "start_epoch": Difference("also overrides the epoch of a checkpoint that is resumed", said=False),
    "resume": Difference("its own files only, with the options given now", said=False),
    "tta": Difference("averages neighbouring images of its loader, which are not views of one image"),
    "worker_seeding": Difference("seeds loader processes, not images", said=False),
}
VALIDATE_DIFFERENT = {"dataset": _NO_STREAMS, "num_samples": _LENGTH}


def take_over(
    content: dict[Any, Any], foreign: dict[str, Foreign], where: str = ""
) -> tuple[dict[Any, Any], list[str]]:
    """Values without the flags of timm that are no options.

    Args:
        content: keys and values; of keys hyphens and underscores are the same.
        foreign: flags of timm, by name.
        where: the file that the values were read from, whose default values are passed over in silence; empty for the
            command line.

    Returns:
        the values of options, with those that a flag of timm is read as, and the lines to print: each says why a flag
        has no effect or is read as another option.
    """
    found = {key: name for key in content if (name := str(key).replace("-", "_")) in foreign}
    values = {key: value for key, value in content.items() if key not in found}
    without_effect: dict[str, list[str]] = {}
    notes = []
    prefix = f"{where}: " if where else ""
    for key, name in found.items():
        flag, value, shown = foreign[name], content[key], name if where else f"--{name.replace('_', '-')}"
        if where and (value is None or value == flag.default):
            continue
        if flag.becomes and not isinstance(value, bool):
            raise UserError(f"{prefix}{shown} takes true or false, not {value!r}")
        if not flag.becomes:
            without_effect.setdefault(flag.reason, []).append(shown)
        elif value:
            values |= {other: new for other, new in flag.becomes.items() if values.get(other) in (None, False)}
            notes.append(f"{prefix}{shown} is read as {flag.means}: {flag.reason}")
    for reason, names in without_effect.items():
        notes.append(f"{prefix}{', '.join(names)} {'has' if len(names) == 1 else 'have'} no effect: {reason}")
    return values, notes
