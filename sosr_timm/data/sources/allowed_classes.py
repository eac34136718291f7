"""The classes that may be predicted, from a text file, for evaluations on a part of them (ImageNet-A and -R)."""

from __future__ import annotations

from pathlib import Path

from sosr_timm.errors import UserError
from sosr_timm.registry import close_names


def read_allowed_classes(path: str, num_classes: int, names: tuple[str, ...] | None) -> list[int]:
    """The classes of a text file, one a line: numbers, or names of a class map.

    Args:
        path: of the file.
        num_classes: of the model.
        names: of the classes, by number, where the data set has a class map.

    Raises:
        UserError: no such file, an empty one, a line that is not a class of the model, or a class twice.
    """
    try:
        lines = [line.strip() for line in Path(path).read_text(encoding="utf-8").rstrip().splitlines()]
    except (OSError, ValueError) as error:
        reason = "no such file" if isinstance(error, FileNotFoundError) else f"cannot be read ({error})"
        raise UserError(f"--valid-labels {path}: {reason}") from None
    if not lines:
        raise UserError(f"--valid-labels {path} is empty")
    found: list[int] = []
    for number, line in enumerate(lines, start=1):
        index = _index(line, names, f"--valid-labels {path}, line {number}")
        if not 0 <= index < num_classes:
            raise UserError(
                f"--valid-labels {path}, line {number}: {index} is not one of the model's {num_classes} classes, "
                f"0 to {num_classes - 1}"
            )
        if index in found:
            raise UserError(f"--valid-labels {path}, line {number}: class '{line}' is listed twice")
        found.append(index)
    return found


def _index(line: str, names: tuple[str, ...] | None, where: str) -> int:
    if names and line in names:
        return names.index(line)
    try:
        return int(line)
    except ValueError:
        pass
    if names is None:
        raise UserError(f"{where}: '{line}' is not a number; names need --class-map")
    near = close_names(line, names)
    raise UserError(f"{where}: '{line}' is not a class{': ' + near if near.startswith('did') else ''}")
