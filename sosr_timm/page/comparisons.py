"""The content of a page from the files of a comparison."""

from __future__ import annotations

import dataclasses
from collections.abc import Collection, Mapping, Sequence
from pathlib import Path
from typing import Any

from sosr_timm.checkpoints.run_folder import RunFolder
from sosr_timm.errors import UserError, one_line
from sosr_timm.metrics.titles import Title
from sosr_timm.page.content import EPOCHS, Content, Group, Run
from sosr_timm.page.runs import StoredRun
from sosr_timm.page.runs import run_of as under_way
from sosr_timm.runner.comparison_file import RESULT, load_comparison
from sosr_timm.runner.record import Record
from sosr_timm.text import counted

RUN_FOLDERS = "runs"  # beside the report's folder
WORKER = "worker.py"  # what sosr-compare starts for each run
HELD_OUT_CURVES = (
    "Metrics over the epochs are of the held-out images, those in the tables and the other charts of the test images; "
    "training loss and over-confidence are of the training images."
)
ENDED = ("failed", "dropped", "not selected")


def content_of_comparison(folder: Path, title: str = "") -> Content:
    """The content of a page about a comparison.

    Args:
        folder: with comparison.json and the records of its runs.
        title: of the page.

    Raises:
        UserError: a file is missing or damaged.
    """
    found, records = load_comparison(folder)
    try:
        return content_from(folder, found, records, title)
    except (KeyError, TypeError, ValueError, AttributeError) as error:
        path = folder / RESULT
        raise UserError(f"{path}: not as sosr-compare writes it ({type(error).__name__}: {one_line(error)})") from None


def content_from(folder: Path, found: Mapping[str, Any], records: Sequence[Record], title: str) -> Content:
    """The content of a page from that of comparison.json and the records beside it.

    Raises:
        UserError: a file of a run is damaged.
        KeyError, TypeError, ValueError, AttributeError: the content is damaged.
    """
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
    runs = [run_of(record) for record in shown]
    if not found["complete"]:
        runs += unfinished_runs(folder, groups, {(run.group, run.seed) for run in runs})
    runs.sort(key=lambda run: (order[run.group], run.seed))
    data = found["data"]
    return Content(
        title=title or f"Comparison {found['name']}",
        summary=found["summary"],
        notes=[*found["notes"], *([HELD_OUT_CURVES] if "test_images" in data else [])],
        facts=[
            ("Data set", str(data.get("name", ""))),
            ("Model", str(found["options"].get("model") or (records[0].run.model if records else ""))),
            ("Epochs", str(found["epochs"])),
            ("Training images", f"{data['training_images']:,}" if "training_images" in data else "unknown"),
            ("Evaluated on", found["evaluated_on"]),
            ("Baseline", found["baseline"]),
            ("Finished", counted(len(shown), "run")),
        ],
        metrics={name: title_of(metric) for name, metric in found["metrics"].items()},
        groups=groups,
        runs=runs,
        baseline=found["baseline"],
        same={**({"recipe": found["recipe"]} if found["recipe"] else {}), **found["options"]},
        different={"full form of the loss": {group.label: group.full_form for group in groups}},
        complete=found["complete"],
    )


def run_folders(folder: Path) -> list[Path]:
    """The run folders of a comparison, beside the folder of its report; none where that is elsewhere (--results)."""
    runs = folder.resolve().parent / RUN_FOLDERS
    return sorted(path for path in runs.iterdir() if RunFolder(path).is_run) if runs.is_dir() else []


def unfinished_runs(folder: Path, groups: Sequence[Group], recorded: Collection[tuple[str, int]]) -> list[Run]:
    """The runs that are under way: their epochs so far are in the curves, and in no mean.

    Args:
        folder: of the report.
        groups: of the comparison.
        recorded: label and seed of each run that has a record.

    Raises:
        UserError: a run's file is damaged.
    """
    labels = {group.full_form: group.label for group in groups if group.status not in ENDED}
    found = []
    for path in run_folders(folder):
        run = StoredRun(path)
        label = labels.get(run.loss)
        if label and (label, run.seed) not in recorded:
            one = under_way(label, run)
            found.append(dataclasses.replace(one, command=training_command(one.command)))
    return found


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
        command=training_command(record.run.command),
        environment=record.run.environment,
        seconds=record.run.seconds,
    )


def training_command(command: str) -> str:
    """The command that trains a run of a comparison again: the worker takes the options of train.py."""
    program, _, words = command.partition(" ")
    return f"sosr-train {words}" if Path(program).name == WORKER else command
