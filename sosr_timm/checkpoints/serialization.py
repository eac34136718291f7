"""Any state dict as tensors for safetensors plus JSON for the rest, and back, without pickle."""

from __future__ import annotations

import os
import re
from pathlib import Path
from typing import Any

import numpy as np
import torch
from safetensors import SafetensorError
from safetensors.torch import save_file
from torch import Tensor

from sosr_timm.errors import one_line
from sosr_timm.files import set_default_mode

# Keys that mark what JSON has no word for.
TENSOR, TUPLE, ITEMS = "__tensor__", "__tuple__", "__items__"


def split(state: Any, name: str = "") -> tuple[Any, dict[str, Tensor]]:
    """A nested state as JSON with references, and the tensors that it refers to by name.

    Args:
        state: dicts (keys of str or int), lists, tuples, tensors, numbers, texts, None.
        name: prefix of the tensors' names.

    Raises:
        TypeError: something that JSON cannot hold.
    """
    tensors: dict[str, Tensor] = {}
    return _split(state, name, tensors), tensors


def _split(value: Any, name: str, tensors: dict[str, Tensor]) -> Any:
    if isinstance(value, Tensor):
        tensors[name] = value
        return {TENSOR: name}
    if isinstance(value, dict):
        if all(isinstance(key, str) for key in value):
            return {key: _split(item, f"{name}.{key}" if name else key, tensors) for key, item in value.items()}
        return {ITEMS: [[key, _split(item, f"{name}.{key}", tensors)] for key, item in value.items()]}
    if isinstance(value, (list, tuple)):
        items = [_split(item, f"{name}.{position}", tensors) for position, item in enumerate(value)]
        return {TUPLE: items} if isinstance(value, tuple) else items
    if isinstance(value, np.generic):
        return value.item()
    if value is None or isinstance(value, (bool, int, float, str)):
        return value
    raise TypeError(f"{name}: a {type(value).__name__} has no place in a checkpoint")


def join(value: Any, tensors: dict[str, Tensor]) -> Any:
    """The state that `split` took apart.

    Raises:
        KeyError: a tensor is missing.
    """
    if isinstance(value, list):
        return [join(item, tensors) for item in value]
    if not isinstance(value, dict):
        return value
    if TENSOR in value:
        return tensors[value[TENSOR]]
    if TUPLE in value:
        return tuple(join(item, tensors) for item in value[TUPLE])
    if ITEMS in value:
        return {key: join(item, tensors) for key, item in value[ITEMS]}
    return {key: join(item, tensors) for key, item in value.items()}


def storable(tensors: dict[str, Tensor]) -> dict[str, Tensor]:
    """Tensors as safetensors takes them: on the CPU, contiguous (channels_last is not), none sharing memory."""
    result: dict[str, Tensor] = {}
    seen: set[int] = set()
    for name, tensor in tensors.items():
        tensor = tensor.detach().to("cpu").contiguous()
        if tensor.numel() and tensor.untyped_storage().data_ptr() in seen:
            tensor = tensor.clone()
        seen.add(tensor.untyped_storage().data_ptr())
        # A view into a larger storage would be written with all of it.
        result[name] = tensor.clone() if tensor.untyped_storage().nbytes() != tensor.nbytes else tensor
    return result


def save_tensors(path: Path, tensors: dict[str, Tensor], metadata: dict[str, str] | None = None) -> None:
    """Write a safetensors file with the permissions that other new files of its folder have.

    Raises:
        OSError: no room, no such folder, ...
    """
    try:
        save_file(tensors, str(path), metadata)
    except SafetensorError as error:  # which hides the system's error in its text
        number = re.search(r"os error (\d+)", str(error))
        raise OSError(int(number[1]), os.strerror(int(number[1]))) if number else OSError(one_line(error)) from None
    set_default_mode(path)


def module_state(module: torch.nn.Module) -> dict[str, Tensor]:
    """A module's tensors by name, as safetensors takes them."""
    return storable(dict(module.state_dict()))
