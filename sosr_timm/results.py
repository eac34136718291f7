"""The record of a finished run and its JSON; tables are made from these files, never typed."""

from __future__ import annotations

import dataclasses
import hashlib
import json
import math
import os
import re
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from sosr_timm.files import write_json

FORMAT = 1


@dataclass(frozen=True)
class RunResult:
    """What a finished run was and what it reached.

    Args:
        recipe: the recipe's name, as `cifar100/cifar_resnet56`, or "" for a run by flags alone.
        dataset: the data set's name.
        model: the model's name in timm.
        loss: the loss in its full form, as printed at the start.
        seed: the run's seed.
        epochs: epochs trained.
        best: metrics of the best epoch by name; `epoch` says which. NaN and infinities become null in the file and NaN
            when read back.
        last: metrics of the last epoch by name.
        options_digest: `digest` of the resolved options.
        seconds: wall-clock time of the run, without pauses between resumed parts.
        processes: how many processes trained.
        command: the command line.
        environment: `environment()` of the run.
        data: `SourceInfo.origin` of the training images: what was prepared, thinned out or mislabelled. Older files
            do not have it.
    """

    recipe: str
    dataset: str
    model: str
    loss: str
    seed: int
    epochs: int
    best: dict[str, float]
    last: dict[str, float]
    options_digest: str
    seconds: float
    processes: int
    command: str
    environment: dict[str, Any]
    data: dict[str, Any] = dataclasses.field(default_factory=dict)

    def file_name(self) -> str:
        """A name that says which run this is; a run of the same options and seed has the same one."""
        words = (self.dataset, self.model, self.loss, f"seed{self.seed}", self.options_digest)
        slugs = [re.sub(r"[^A-Za-z0-9.+=]+", "_", word).strip("_.")[:60] for word in words]
        return "-".join(slug for slug in slugs if slug) + ".json"


def digest(options: Mapping[str, Any]) -> str:
    """16 hexadecimal digits, the same for the same options (what JSON can hold; tuples count as lists) in any order."""
    text = json.dumps(options, sort_keys=True, separators=(",", ":"))
    return hashlib.sha256(text.encode()).hexdigest()[:16]


def save_result(result: RunResult, folder: str | os.PathLike, name: str | None = None) -> Path:
    """Write a result into a directory, under `name` or else its own `file_name()`, and give the path."""
    path = Path(folder) / (name or result.file_name())
    write_json(path, content_of(result))
    return path


def content_of(result: RunResult) -> dict[str, Any]:
    """A result as JSON holds it; `result_from` reads it back."""
    content: dict[str, Any] = {"format": FORMAT, **dataclasses.asdict(result)}
    for part in ("best", "last"):
        content[part] = {key: value if math.isfinite(value) else None for key, value in content[part].items()}
    return content


def load_result(path: str | os.PathLike) -> RunResult:
    """Read a result back.

    Raises:
        ValueError: the file is no JSON, has another format, lacks a field, has one too many, or one of another type.
    """
    path = Path(path)
    try:
        content = json.loads(path.read_text(encoding="utf-8"))
    except json.JSONDecodeError as error:
        raise ValueError(f"{path}: not JSON: {error}") from error
    return result_from(content, str(path))


def result_from(content: Any, where: str) -> RunResult:
    """The result that `content_of` made JSON of.

    Raises:
        ValueError: another format, a field that is missing, one too many, or one of another type; starts with `where`.
    """
    if not isinstance(content, dict) or content.get("format") != FORMAT:
        raise ValueError(f"{where}: not a result of format {FORMAT}")
    fields = {field.name: field.type for field in dataclasses.fields(RunResult)}
    found = content.keys() - {"format"}
    missing, unknown = sorted(fields.keys() - found - {"data"}), sorted(found - fields.keys())
    if missing or unknown:
        raise ValueError(f"{where}: missing fields {missing}, unknown fields {unknown}")
    return RunResult(**{name: _checked(content[name], fields[name], f"{where}: {name}") for name in found})


def load_results(folder: str | os.PathLike) -> list[RunResult]:
    """All results of a directory, by file name, without benchmarks (`bench_*.json`); an unreadable one is an error."""
    paths = sorted(Path(folder).glob("*.json"))
    return [load_result(path) for path in paths if not path.name.startswith("bench_")]


def _checked(value: Any, kind: str, where: str) -> Any:
    """`value` as the field's type, given as the text of the annotation; null in a metric is NaN."""
    if kind == "dict[str, float]" and isinstance(value, dict):
        return {key: math.nan if number is None else _checked(number, "float", where) for key, number in value.items()}
    accepted = {"str": str, "int": int, "float": (int, float)}.get(kind, dict)
    if not isinstance(value, accepted) or isinstance(value, bool):
        raise ValueError(f"{where}: expected {kind}, not {value!r}")
    return value
