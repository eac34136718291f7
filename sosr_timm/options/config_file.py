"""One mapping from a YAML file, read strictly: a duplicate key, an alias or a Python object is an error."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import yaml

from sosr_timm.errors import UserError, one_line
from sosr_timm.registry import close_names

# What PyYAML raises on text that is no YAML or on values such as `!!int ''`.
FAULTS = (yaml.YAMLError, ValueError, RecursionError, LookupError, AttributeError, TypeError, OverflowError)


class _StrictLoader(yaml.SafeLoader):
    """YAML without what goes wrong silently: the last of two equal keys wins, a few aliases can stand for gigabytes."""

    def compose_node(self, parent, index):
        if self.check_event(yaml.AliasEvent):
            mark = self.peek_event().start_mark
            raise yaml.constructor.ConstructorError(None, None, "aliases are not read: write the value out", mark)
        return super().compose_node(parent, index)

    def construct_mapping(self, node, deep=False):
        seen: set[Any] = set()
        for key_node, _ in node.value:
            if not isinstance(key_node, yaml.ScalarNode):
                continue
            if key_node.value in seen:
                message = f"'{key_node.value}' is given twice"
                raise yaml.constructor.ConstructorError(None, None, message, key_node.start_mark)
            seen.add(key_node.value)
        return super().construct_mapping(node, deep)


def read_mapping(path: str | Path) -> dict:
    """The content of a YAML file; empty where the file is.

    Raises:
        UserError: no such file (with the nearest name), not YAML (with the line), or no mapping.
    """
    try:
        text = Path(path).read_text(encoding="utf-8")
    except FileNotFoundError:
        raise UserError(f"{path}: no such file{_similar_file(Path(path))}") from None
    except (OSError, ValueError) as error:
        raise UserError(f"{path}: cannot be read ({error})") from None
    try:
        content = yaml.load(text, Loader=_StrictLoader)
    except FAULTS as error:
        raise UserError(f"{path}{_place(error)}: not valid YAML ({_reason(error)})") from None
    if content is None:
        return {}
    if not isinstance(content, dict):
        raise UserError(f"{path}: contains a {type(content).__name__}, not 'option: value' lines")
    return content


def _place(error: Exception) -> str:
    mark = getattr(error, "problem_mark", None)
    return f", line {mark.line + 1}" if mark else ""


def _reason(error: Exception) -> str:
    if isinstance(error, RecursionError):
        return "nested too deeply"
    if isinstance(error, (yaml.YAMLError, ValueError)):
        return getattr(error, "problem", None) or one_line(error)
    return "a value is incompatible with its tag"


def _similar_file(path: Path) -> str:
    if not path.parent.is_dir():
        return f" (the directory {path.parent} does not exist)"
    text = close_names(path.name, [other.name for other in path.parent.iterdir()])
    return f": {text}" if text.startswith("did") else ""
