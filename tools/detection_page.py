"""Store a run of sosr-detect on the scenes of tools.fashion_scenes, and write its values into docs/detection.md.

python -m tools.detection_page [--store RUN_FOLDER]
"""

from __future__ import annotations

import argparse
import csv
import json
import shlex
import shutil
import sys
from pathlib import Path
from typing import Any

from sosr_timm.checkpoints.run_folder import RESULT, SUMMARY
from sosr_timm.detection.evaluation import RECORD
from sosr_timm.detection.picture import PICTURE
from sosr_timm.files import write_json, write_text
from sosr_timm.runner.collect import portable
from sosr_timm.text import markdown_table
from tools.checkout import ROOT

STORED = ROOT / "results" / "detection" / "fashion_scenes.json"
PAGE, PLOT = ROOT / "docs" / "detection.md", ROOT / "docs" / "detections.png"
BEGIN, END = "<!-- scenes:begin -->\n", "<!-- scenes:end -->\n"


def store(folder: Path) -> None:
    """Keep a finished and evaluated run: its result, its evaluation, its epochs, its picture."""
    result, evaluation = (json.loads((folder / name).read_text(encoding="utf-8")) for name in (RESULT, RECORD))
    with open(folder / SUMMARY, encoding="utf-8", newline="") as file:
        epochs = [{name: float(value) for name, value in row.items()} for row in csv.DictReader(file)]
    result["command"] = portable(result["command"])
    write_json(STORED, {"result": result, "evaluation": evaluation, "epochs": epochs})
    shutil.copyfile(folder / PICTURE, PLOT)


def text_of(stored: dict[str, Any]) -> str:
    """The values of the stored run as the page shows them."""
    result, evaluation = stored["result"], stored["evaluation"]
    rows = [
        [name, str(values["objects"]), *(f"{values[way]:.2f}" for way in ("map_11point", "map_area"))]
        for name, values in evaluation["classes"].items()
    ]
    metrics = evaluation["metrics"]
    total = sum(values["objects"] for values in evaluation["classes"].values())
    rows.append(["mean", str(total), f"{metrics['map_11point']:.2f}", f"{metrics['map_area']:.2f}"])
    columns = ("class", "objects", "11 points %", "area %")
    first, last = stored["epochs"][0], stored["epochs"][-1]
    machine = f"{result['environment']['cpu']}, {result['environment']['threads']} thread of torch"
    losses = [epoch["train_loss"] for epoch in (first, last)]
    loss = f"The training loss fell from {losses[0]:.2f} in the first epoch to {losses[1]:.2f} in the last"
    metric = f"the mAP at 11 points rose from {first['eval_map_11point']:.1f} % to {last['eval_map_11point']:.1f} %"
    length = f"{result['epochs']} epochs, {result['seconds'] / 60:.0f} minutes ({machine}, shared with other work)"
    return (
        f"{length}, {evaluation['images']} scenes to evaluate on. {loss}, {metric}.\n"
        f"The best checkpoint, evaluated again with `--evaluate`:\n\n"
        f"{markdown_table(columns, rows, columns[1:])}\n\n```sh\n{command_of(result['command'])}\n```\n"
    )


def command_of(command: str) -> str:
    """A command line, quoted where a shell needs it, without the place of the run."""
    words = command.split(" ")
    kept = words[: words.index("--output")] if "--output" in words else words
    return shlex.join(word.removeprefix(".../") for word in kept)


def page() -> str:
    """The text of docs/detection.md with the stored values."""
    text = PAGE.read_text(encoding="utf-8")
    before, _, rest = text.partition(BEGIN)
    _, _, after = rest.partition(END)
    return before + BEGIN + text_of(json.loads(STORED.read_text(encoding="utf-8"))) + END + after


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0], prog="python -m tools.detection_page")
    parser.add_argument("--store", type=Path, help="run folder to keep in results/ first")
    given = parser.parse_args()
    if given.store:
        store(given.store)
    write_text(PAGE, page())
    print(f"{PAGE.relative_to(ROOT)} written")
    return 0


if __name__ == "__main__":
    sys.exit(main())
