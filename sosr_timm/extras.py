"""Optional packages: imported where they are used, named with their extra where they are missing."""

from __future__ import annotations

import importlib
from types import ModuleType

from sosr_timm.errors import UserError


def import_extra(module: str, extra: str, feature: str) -> ModuleType:
    """Import a module that an extra of this package installs.

    Args:
        module: dotted name, as `sklearn.datasets`.
        extra: name of the extra in pyproject.toml.
        feature: what needs it, as the user knows it ("--dataset digits").

    Raises:
        UserError: the package is not installed; the line says how to install it.
    """
    try:
        return importlib.import_module(module)
    except ModuleNotFoundError as error:
        # A module that is missing inside an installed package is that package's fault, and its traceback is wanted.
        package = module.partition(".")[0]
        if error.name is None or error.name.partition(".")[0] != package:
            raise
        raise UserError(
            f"{feature} needs the package '{package}'. Install it with: pip install 'sosr-timm[{extra}]'"
        ) from None
