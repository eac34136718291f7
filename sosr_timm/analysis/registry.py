"""What an analysis is, and the analyses by name."""

from __future__ import annotations

import dataclasses
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from sosr_timm.distributed.processes import Processes
from sosr_timm.options.analysis import AnalysisReportOptions, AnalyzedModelOptions, SharedOptions
from sosr_timm.options.validate import EvaluationDataOptions
from sosr_timm.registry import Registry


@dataclass
class Result:
    """What an analysis found.

    Attributes:
        record: for NAME.json; only what JSON can hold.
        rows: for NAME.csv and the table on the screen, all with the keys of the first; none: no such file.
        plots: file name of a PNG -> what draws it at a path.
    """

    record: dict[str, Any]
    rows: list[dict[str, Any]] = field(default_factory=list)
    plots: dict[str, Callable[[Path], None]] = field(default_factory=dict)


@dataclass
class NoOptions:
    """The options of an analysis that has none of its own."""


@dataclass(frozen=True)
class Analysis:
    """An analysis: `sosr-analyze NAME RUN ...`.

    Attributes:
        name: on the command line and of the files.
        summary: one line for --help.
        source: the paper's figure or table.
        run: from the runs and models that were named, all options, and the one process, to what was found.
        options: dataclass of `flag(...)` fields, the group `analysis` of its options.
        joins_seeds: runs that differ in their seed alone share a title, and become one curve.
    """

    name: str
    summary: str
    source: str
    run: Callable[[list[Any], AnalyzeOptions, Processes], Result]
    options: type = NoOptions
    joins_seeds: bool = False


@dataclass
class AnalyzeOptions(SharedOptions):
    """All options of an analysis; `groups_of` makes the type with its own group."""

    analysis: Any = None


ANALYSES: Registry[Analysis] = Registry("analysis")


def analysis(
    name: str, summary: str, source: str, options: type = NoOptions, joins_seeds: bool = False
) -> Callable[[Callable[..., Result]], Callable[..., Result]]:
    """Decorator that registers a function of subjects, options and processes as an analysis."""

    def store(run: Callable[..., Result]) -> Callable[..., Result]:
        ANALYSES.register(name)(Analysis(name, summary, source, run, options, joins_seeds))
        return run

    return store


def groups_of(chosen: Analysis) -> type:
    """The dataclass of option groups of an analysis: those that all share, and its own under `analysis`."""
    groups = {
        "model": AnalyzedModelOptions,
        "data": EvaluationDataOptions,
        "report": AnalysisReportOptions,
        "analysis": chosen.options,
    }
    fields = [(name, group, dataclasses.field(default_factory=group)) for name, group in groups.items()]
    return dataclasses.make_dataclass("AnalyzeOptions", fields)


def own_groups(chosen: Analysis) -> type:
    """The dataclass with the group `analysis` alone: what an analysis has beside the shared options."""
    group = chosen.options
    return dataclasses.make_dataclass("OwnOptions", [("analysis", group, dataclasses.field(default_factory=group))])
