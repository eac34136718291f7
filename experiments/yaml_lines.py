"""A YAML file with the line of everything in it, so that an error can name the place."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import yaml

from sosr_timm.options.config_file import read_mapping

Place = tuple[Any, ...]


def read_with_lines(path: str | Path) -> tuple[dict[str, Any], dict[Place, int]]:
    """What a YAML file holds, and where.

    Returns:
        the mapping, and the line (from 1) of each item by the keys and positions that lead to it, as `("rows", 3)`.

    Raises:
        UserError: no such file, not YAML (with the line), or no mapping.
    """
    content = read_mapping(path)
    lines: dict[Place, int] = {(): 1}
    loader = getattr(yaml, "CSafeLoader", yaml.SafeLoader)  # in C where PyYAML was built with it
    node = yaml.compose(Path(path).read_text(encoding="utf-8"), Loader=loader)
    _walk(node, (), lines)
    return content, lines


def _walk(node: Any, place: Place, lines: dict[Place, int]) -> None:
    if isinstance(node, yaml.MappingNode):
        for key, value in node.value:
            lines[(*place, key.value)] = key.start_mark.line + 1
            _walk(value, (*place, key.value), lines)
    elif isinstance(node, yaml.SequenceNode):
        for position, item in enumerate(node.value):
            lines[(*place, position)] = item.start_mark.line + 1
            _walk(item, (*place, position), lines)
