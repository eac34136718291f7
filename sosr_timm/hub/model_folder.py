"""A directory in timm's Hub format: config.json and model.safetensors, loadable without this package where timm has the
module."""

from __future__ import annotations

import os
import shutil
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

import timm
import torch
from timm.data import ImageNetInfo
from timm.models import save_for_hf
from torch import nn

from sosr_timm.data.transforms.image import ImageFormat
from sosr_timm.errors import UserError, one_line, reason_of
from sosr_timm.files import set_default_mode
from sosr_timm.models.weights import timm_architecture

CONFIG, WEIGHTS, CARD = "config.json", "model.safetensors", "README.md"


@dataclass(frozen=True)
class Model:
    """What is written into a directory.

    Attributes:
        module: with its weights, on the CPU.
        image_format: what it is fed.
        class_names: by index; None where unknown.
        tag: what was trained how (`in1k`), the part behind the dot of the repository's name; "" for none.
        license: the Hub's identifier; "" where unknown.
    """

    module: nn.Module
    image_format: ImageFormat
    class_names: Sequence[str] | None = None
    tag: str = ""
    license: str = ""

    @property
    def architecture(self) -> str:
        """The model's name: timm's own where the model is timm's."""
        return timm_architecture(self.module.pretrained_cfg["architecture"])


def tag_of(name: str) -> str:
    """`in1k` of `organisation/sosr_resnet50.in1k` or of a directory of that name; "" without a dot."""
    return Path(name).name.partition(".")[2]


@contextmanager
def new_folder(destination: Path, replace: bool = False) -> Iterator[Path]:
    """A directory that gets its name when the block ends well; otherwise nothing of it remains.

    Args:
        destination: the name.
        replace: an earlier directory of that name makes room; else only an empty one may.

    Raises:
        UserError: the path is taken, or the directory cannot be written.
    """
    destination = Path(os.path.abspath(destination))
    if destination.is_symlink() or (destination.exists() and not destination.is_dir()):
        raise UserError(f"{destination} exists already and is not a directory")
    if not replace and destination.is_dir() and any(destination.iterdir()):
        raise UserError(f"{destination} is not empty: name a new directory")
    temporary = destination.with_name(f".{destination.name}.{os.getpid()}.tmp")
    try:
        temporary.mkdir(parents=True)
        yield temporary
        if destination.is_dir():
            shutil.rmtree(destination)
        os.replace(temporary, destination)
    except OSError as error:
        raise UserError(f"{destination} cannot be written ({reason_of(error)})") from None
    finally:
        shutil.rmtree(temporary, ignore_errors=True)


def write_model(model: Model, folder: Path) -> None:
    """Write config.json and model.safetensors, and load them again with timm alone.

    Args:
        model: what to write.
        folder: that exists.

    Raises:
        UserError: a model that timm's format cannot hold.
    """
    form = model.image_format
    # safetensors refuses a tensor whose memory is laid out channels last.
    module = model.module.to(memory_format=torch.contiguous_format)
    described = {"architecture": model.architecture, "tag": model.tag or None, "license": model.license or None}
    config = {"pretrained_cfg": described, **labels(model.class_names)}
    data = {
        "input_size": form.input_size,
        "mean": form.mean,
        "std": form.std,
        "interpolation": form.interpolation,
        "crop_pct": form.crop_pct,
        "crop_mode": form.crop_mode,
    }
    try:
        save_for_hf(module, str(folder), model_config=config, data_config=data, safe_serialization=True)
        set_default_mode(folder / WEIGHTS)
    except (ValueError, RuntimeError) as error:
        raise UserError(f"{model.architecture} cannot be stored in timm's format ({error})") from None
    check_model(module, folder)


def labels(class_names: Sequence[str] | None) -> dict[str, object]:
    """`label_names` of config.json and, where they are WordNet's synsets, `label_descriptions`."""
    if not class_names:
        return {}
    found: dict[str, object] = {"label_names": list(class_names)}
    known = ImageNetInfo()
    descriptions = {name: known.label_name_to_description(name) for name in class_names if name in known.label_names()}
    return {**found, "label_descriptions": descriptions} if len(descriptions) == len(class_names) else found


def check_model(module: nn.Module, folder: Path) -> None:
    """Load a directory with `timm.create_model` and compare every tensor.

    Raises:
        UserError: timm cannot load it, or loads something else.
    """
    try:
        with torch.random.fork_rng(devices=[]):
            loaded = timm.create_model(f"local-dir:{folder}", pretrained=True)
    except (RuntimeError, TypeError, ValueError) as error:
        raise UserError(f"timm cannot load what was written ({one_line(error)})") from None
    expected, found = module.state_dict(), loaded.state_dict()
    different = sorted(expected.keys() ^ found.keys())
    different = different or [name for name, tensor in expected.items() if not torch.equal(tensor, found[name])]
    if different:
        raise UserError(f"timm loads other weights than were written ({', '.join(different[:3])})")
