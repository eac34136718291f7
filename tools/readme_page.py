"""The results in README.md, from results/*.json: python -m tools.readme_page"""

from __future__ import annotations

import math
import sys

from sosr_timm.metrics.titles import ONE_CLASS
from sosr_timm.results import RunResult, load_results
from sosr_timm.text import markdown_table
from tools import benchmark_lines as benchmarks
from tools.checkout import ROOT
from tools.generated import run_writer

README, RESULTS = ROOT / "README.md", ROOT / "results"
BEGIN, END = "<!-- results:begin -->", "<!-- results:end -->"
BENCHMARK_MARKS = ("<!-- benchmarks:begin -->", "<!-- benchmarks:end -->")
NONE_YET = "No finished run is stored in `results/` yet."
COLUMNS = (
    *("model", "data", "loss", "options", "seed", "epochs"),
    *(f"{epoch} {ONE_CLASS['top1'].heading}" for epoch in ("best", "last")),
    *(ONE_CLASS["loss"].heading, ONE_CLASS["ece"].heading, "minutes"),
)
NUMBERS = COLUMNS[4:]
# What has a column of its own, or changes no metric.
NO_OPTION = ("--config", "--loss", "--seed", "--epochs", "--workers", "--checkpoint-hist", "--output", "--experiment")


def table(results: list[RunResult]) -> str:
    """A markdown table with a row for each result, by data, model, epochs, loss and seed."""
    if not results:
        return NONE_YET
    ordered = sorted(
        results, key=lambda run: (run.dataset, run.model, run.epochs, run.loss, options(run.command), run.seed)
    )
    machines = sorted({machine(run) for run in results})
    return markdown_table(COLUMNS, [cells(run) for run in ordered], NUMBERS) + f"\n\nMachine: {'; '.join(machines)}."


def cells(run: RunResult) -> list[str]:
    """One row; NLL and ECE are those of the last epoch."""
    return [
        run.model,
        run.dataset,
        f"`{run.loss}`",
        options(run.command),
        str(run.seed),
        str(run.epochs),
        rounded(run.best, "top1"),
        rounded(run.last, "top1"),
        rounded(run.last, "loss"),
        rounded(run.last, "ece"),
        f"{run.seconds / 60:,.0f}",
    ]


def options(command: str) -> str:
    """What else the command line said, `--cutmix 1.0` for instance."""
    kept: list[str] = []
    keep = False
    for word in command.split()[1:]:
        if word.startswith("--"):
            keep = word.partition("=")[0] not in NO_OPTION
        if keep:
            kept.append(word)
    return f"`{' '.join(kept)}`" if kept else ""


def rounded(metrics: dict[str, float], name: str) -> str:
    """A metric, or a dash where the run has none."""
    value = metrics.get(name, math.nan)
    return ONE_CLASS[name].value(value) if math.isfinite(value) else "-"


def machine(run: RunResult) -> str:
    """The processes and what they ran on."""
    gpus = run.environment.get("gpus") or []
    device = gpus[0] if gpus else f"{run.environment.get('cpu', 'CPU')}, {run.environment.get('cores', '?')} cores"
    return f"{run.processes} x {device}"


def updated(readme: str, block: str, begin_mark: str = BEGIN, end_mark: str = END) -> str:
    """The text with the part between the two marks replaced.

    Raises:
        ValueError: a mark is missing or appears twice, or they are in the wrong order.
    """
    before, begin, rest = readme.partition(begin_mark)
    _, end, after = rest.partition(end_mark)
    if not begin or not end or readme.count(begin_mark) > 1 or readme.count(end_mark) > 1:
        raise ValueError(f"expected one {begin_mark} and behind it one {end_mark}")
    return f"{before}{begin_mark}\n{block}\n{end_mark}{after}"


def generated(readme: str) -> str:
    """The README with both of its generated parts made anew.

    Raises:
        ValueError: marks are missing, or a stored file is no result.
    """
    readme = updated(readme, table(load_results(RESULTS)))
    return updated(readme, benchmarks.lines(RESULTS), *BENCHMARK_MARKS)


def page() -> str:
    """The README as it should be now."""
    return generated(README.read_text(encoding="utf-8"))


if __name__ == "__main__":
    sys.exit(run_writer(README, page, __doc__))
