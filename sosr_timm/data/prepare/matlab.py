"""Tables of MATLAB files, in which several data sets keep labels and splits."""

from __future__ import annotations

import io
from typing import Any

import numpy as np

from sosr_timm.errors import UserError, one_line


def matlab_table(content: bytes, title: str, *names: str) -> list[np.ndarray]:
    """Variables of a MATLAB file, as vectors.

    Args:
        content: of the file.
        title: of the file, for messages.
        names: of the variables.

    Raises:
        UserError: no MATLAB file, or without one of them.
    """
    from scipy.io import loadmat

    try:
        variables: dict[str, Any] = loadmat(io.BytesIO(content), squeeze_me=True)
        return [np.atleast_1d(variables[name]) for name in names]
    except KeyError as error:
        raise UserError(f"{title} has no table {error}") from None
    # scipy raises what the broken bytes lead it to.
    except Exception as error:
        raise UserError(f"{title} is not a complete MATLAB file ({one_line(error)})") from None
