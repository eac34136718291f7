"""The report of a comparison: comparison.json, comparison.md and comparison.csv, written in one step each."""

from __future__ import annotations

import csv
import io
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from sosr_timm.comparison.conclusions import notes_of, summary_of
from sosr_timm.comparison.plan import Plan
from sosr_timm.comparison.result import EPOCHS, QUALITY, SECONDS, TRAINING, State, result_of
from sosr_timm.files import must_write, write_json, write_text
from sosr_timm.metrics.titles import Title
from sosr_timm.runner.comparison_file import RESULT
from sosr_timm.runner.record import Record
from sosr_timm.text import counted, markdown_table

MARKDOWN, TABLE = "comparison.md", "comparison.csv"
TITLES = {"last": "Last epoch", "best": "Best epoch"}
COLUMNS = ("loss", "epoch", "metric", "n", "mean", "half_width", "difference", "difference_half_width", "p", "p_holm")


def write_report(plan: Plan, records: Sequence[Record], states: Mapping[str, State], folder: Path) -> dict[str, Any]:
    """Write all files of the report; returns the content of comparison.json.

    Raises:
        UserError: a file cannot be written.
    """
    content = result_of(plan, records, states)
    content["summary"] = summary_of(content)
    content["notes"] = notes_of(plan, content)
    with must_write(folder):
        write_json(folder / RESULT, content)
        write_text(folder / MARKDOWN, markdown(content))
        write_text(folder / TABLE, table_of_values(content))
    return content


def markdown(content: Mapping[str, Any]) -> str:
    """The report as Markdown; everything above "Cost" is the same for a comparison that was stopped and continued."""
    data = content["data"]
    seeds = sorted({len(one["seeds"]) for one in content["losses"] if one["seeds"]})
    many = f"{seeds[0]} to {seeds[-1]}" if len(seeds) > 1 else str(*seeds or (0,))
    noun = "seed" if many == "1" else "seeds"
    parts = [
        f"# Comparison {content['name']}",
        *content["summary"],
        f"{len(content['losses'])} losses, {many} {noun} each, {counted(content['epochs'], 'epoch')}, trained on "
        f"{data['training_images']:,} images of {data['name']} with {data['classes']} classes; measured on "
        f"{content['evaluated_on']}.",
    ]
    for epoch in EPOCHS:
        parts += [f"## {TITLES[epoch]}", values_table(content, epoch)]
        differences = differences_table(content, epoch)
        if differences:
            parts += [f"Difference to {content['baseline']}, with p after Holm's correction:", differences]
    parts += ["## How to read this", "\n".join(f"- {note}" for note in content["notes"])]
    options = ", ".join(f"{name} {value}" for name, value in content["options"].items())
    recipe = f"recipe {content['recipe']}; " if content["recipe"] else ""
    parts.append(f"Options of all runs: {recipe}{options or 'defaults'}.")
    parts += ["## Cost", cost_table(content), machines(content)]
    return "\n\n".join(parts) + "\n"


def titles_of(epoch: str) -> dict[str, Title]:
    """The metrics of a table."""
    return QUALITY | TRAINING if epoch == "last" else QUALITY


def values_table(content: Mapping[str, Any], epoch: str) -> str:
    """A row for each loss: mean and interval of every metric, or why there is none."""
    rows = []
    measured = {name for one in content["losses"] for name in one[epoch]}
    titles = {name: title for name, title in titles_of(epoch).items() if name in measured}
    for one in content["losses"]:
        found = one[epoch]
        if not found:
            why = f"{one['status']}: {one['reason']}" if one["reason"] else one["status"]
            rows.append([one["loss"], *[why, *[""] * len(titles)][: len(titles)], "0"])
            continue
        cells = [mean_cell(title, found.get(name)) for name, title in titles.items()]
        rows.append([one["loss"], *cells, str(len(one["seeds"]))])
    columns = ("loss", *(title.heading for title in titles.values()), "n")
    return markdown_table(columns, rows, columns[1:])


def mean_cell(title: Title, values: Mapping[str, Any] | None) -> str:
    if not values:
        return ""
    text = title.value(values["mean"])
    return text if values["half_width"] is None else f"{text} ± {title.value(values['half_width'])}"


def differences_table(content: Mapping[str, Any], epoch: str) -> str:
    """A row for each loss but the baseline; "" without any."""
    titles = titles_of(epoch)
    rows = []
    for one in content["losses"]:
        differences = {name: one[epoch].get(name, {}).get("difference") for name in titles}
        if any(differences.values()):
            rows.append([one["loss"], *(difference_cell(titles[name], values) for name, values in differences.items())])
    used = [place for place in range(1, len(titles) + 1) if any(row[place] for row in rows)]
    headings = [title.heading for title in titles.values()]
    columns = ("loss", *(headings[place - 1] for place in used))
    return markdown_table(columns, [[row[0], *(row[p] for p in used)] for row in rows], columns[1:]) if rows else ""


def difference_cell(title: Title, values: Mapping[str, Any] | None) -> str:
    if not values:
        return ""
    text = f"{values['mean']:+.{title.digits}f}"
    if values["half_width"] is None:
        return f"{text} (n = 1)"
    p = "p undefined" if values["p_holm"] is None else f"p = {values['p_holm']:.2g}"
    return f"{text} ± {values['half_width']:.{title.digits}f} ({p})"


def cost_table(content: Mapping[str, Any]) -> str:
    """Seconds of training of each loss."""
    rows = []
    for loss, values in content["cost"]["seconds"].items():
        difference = values.get("difference")
        text = f"{difference['mean']:+.0f}" if difference else ""
        if difference and difference["half_width"] is not None:
            text += f" ± {difference['half_width']:.0f}"
        rows.append([loss, mean_cell(SECONDS, values), text])
    columns = ("loss", "seconds of training", f"minus {content['baseline']}")
    return markdown_table(columns, rows, columns[1:])


def machines(content: Mapping[str, Any]) -> str:
    """Runs, hours and machines in a sentence."""
    cost = content["cost"]
    names = sorted(
        {", ".join(one["gpus"]) or f"{one['cpu']}, {counted(one['threads'], 'thread')}" for one in cost["machines"]}
    )
    versions = sorted({f"torch {one['torch']}, timm {one['timm']}" for one in cost["machines"]})
    where = f" on {'; '.join(names)}; {'; '.join(versions)}" if names else ""
    return f"{counted(cost['runs'], 'run')}, {cost['hours']:.2f} hours of training{where}."


def table_of_values(content: Mapping[str, Any]) -> str:
    """The values as CSV, one line for each loss, epoch and metric, with every digit."""
    text = io.StringIO()
    writer = csv.writer(text, lineterminator="\n")
    writer.writerow(COLUMNS)
    for one in content["losses"]:
        for epoch in EPOCHS:
            for name, values in one[epoch].items():
                difference = values.get("difference", {})
                row = [values["n"], values["mean"], values["half_width"], difference.get("mean")]
                row += [difference.get("half_width"), difference.get("p"), difference.get("p_holm")]
                writer.writerow([one["loss"], epoch, name, *("" if value is None else value for value in row)])
    return text.getvalue()
