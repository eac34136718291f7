"""Arrays from files in the IDX format of MNIST and its successors, gzipped or not."""

from __future__ import annotations

import gzip
import zlib
from pathlib import Path

import numpy as np

from sosr_timm.errors import UserError


def read_idx(folder: Path, name: str) -> np.ndarray:
    """The bytes of `folder/name.gz` or `folder/name`, in the shape that the file's header states.

    Raises:
        UserError: the file is missing, damaged or not IDX.
    """
    path = folder / f"{name}.gz"
    path = path if path.is_file() else folder / name
    try:
        content = gzip.decompress(path.read_bytes()) if path.suffix == ".gz" else path.read_bytes()
    except (OSError, EOFError, zlib.error) as error:
        raise UserError(f"{path}: cannot be read ({error})") from None
    dimensions = content[3] if len(content) > 3 else 0
    header = 4 + 4 * dimensions
    shape = tuple(int.from_bytes(content[4 + 4 * axis : 8 + 4 * axis], "big") for axis in range(dimensions))
    if content[:3] != b"\x00\x00\x08" or len(content) != header + int(np.prod(shape, dtype=object)):
        raise UserError(f"{path}: not a whole IDX file of bytes")
    return np.frombuffer(content, np.uint8, offset=header).reshape(shape)
