"""The content of a page from the files of a comparison."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from sosr_timm.metrics.titles import Title
from sosr_timm.page.content import EPOCHS, Content, Group, Run
from sosr_timm.runner.comparison_file import load_comparison
from sosr_timm.runner.record import Record
from sosr_timm.text import counted


def content_of_comparison(folder: Path, title: str = "") -> Content:
    """The content of a page about a comparison.

    Args:
        folder: with comparison.json and the records of its runs.
        title: of the page.

    Raises:
        UserError: a file is missing or damaged.
    """
    found, records = load_comparison(folder)
    seconds = found["cost"].get("seconds", {})
    groups = [
        Group(
            label=one["loss"],
            full_form=one["full_form"],
            status=one["status"],
            reason=one["reason"],
            seeds=one["seeds"],
            values={epoch: one[epoch] for epoch in EPOCHS},
            seconds=seconds.get(one["loss"], {}),
        )
        for one in found["losses"]
    ]
    order = {group.label: place for place, group in enumerate(groups)}
    shown = [record for record in records if record.row.get("method") in order]
    shown.sort(key=lambda record: (order[record.row["method"]], record.run.seed))
    data = found["data"]
    return Content(
        title=title or f"Comparison {found['name']}",
        summary=found["summary"],
        notes=found["notes"],
        facts=[
            ("Data set", str(data.get("name", ""))),
            ("Model", str(found["options"].get("model") or (records[0].run.model if records else ""))),
            ("Epochs", str(found["epochs"])),
            ("Training images", f"{data['training_images']:,}" if "training_images" in data else "unknown"),
            ("Evaluated on", found["evaluated_on"]),
            ("Baseline", found["baseline"]),
            ("Runs", counted(len(shown), "run")),
        ],
        metrics={name: title_of(metric) for name, metric in found["metrics"].items()},
        groups=groups,
        runs=[run_of(record) for record in shown],
        baseline=found["baseline"],
        same={**({"recipe": found["recipe"]} if found["recipe"] else {}), **found["options"]},
        different={"full form of the loss": {group.label: group.full_form for group in groups}},
        complete=found["complete"],
    )


def title_of(metric: dict[str, Any]) -> Title:
    """A metric as comparison.json describes it."""
    return Title(metric["name"], metric["digits"], metric["unit"], metric["title"], metric["lower_is_better"])


def run_of(record: Record) -> Run:
    """A run from its record; on the test images where the evaluation images are held-out ones."""
    evaluation = record.test or record.evaluation
    return Run(
        group=record.row["method"],
        seed=record.run.seed,
        name=f"{record.row['method']}, seed {record.run.seed}",
        state="complete",
        history=record.history,
        evaluation={epoch: evaluation[epoch] for epoch in EPOCHS if isinstance(evaluation.get(epoch), dict)},
        command=record.run.command,
        environment=record.run.environment,
        seconds=record.run.seconds,
    )
