"""The picture of README.md, what SOSR does to the logits of one image: python -m tools.sosr_picture CE_RUN SOSR_RUN

Both runs must have the same data set, for instance:

    python train.py --config digits --loss ce --experiment ce
    python train.py --config digits --loss sosr --experiment sosr
    python -m tools.sosr_picture output/train/ce output/train/sosr

Evaluates both runs, writes results/pictures/sosr.json and docs/sosr.png. Without arguments it draws the stored values.
"""

from __future__ import annotations

import argparse
import json
import subprocess
import sys
import tempfile
from pathlib import Path
from typing import Any

import numpy as np

from sosr_timm.environment import environment
from sosr_timm.files import replacing, write_json
from tools.checkout import ROOT

RECORD, PICTURE = ROOT / "results" / "pictures" / "sosr.json", ROOT / "docs" / "sosr.png"
THRESHOLD = 0.99  # SOSR's default: a correct prediction above it is over-confident
BLUE, ORANGE, GREY = "#3b6ea5", "#c8553d", "#555555"


def logits_of(run: Path) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Logits (N, K), labels (N,) and image names (N,) of a run's evaluation images."""
    with tempfile.TemporaryDirectory() as folder:
        file = Path(folder) / "predictions.npz"
        command = [sys.executable, str(ROOT / "validate.py"), str(run), "--predictions", str(file)]
        subprocess.run(command, check=True, stdout=subprocess.DEVNULL)
        with np.load(file) as arrays:
            return arrays["logits"].astype(np.float64), arrays["target"], arrays["name"]


def over_confident(logits: np.ndarray, labels: np.ndarray) -> np.ndarray:
    """Which samples are classified correctly with more than THRESHOLD, (N,) bool."""
    shifted = np.exp(logits - logits.max(axis=1, keepdims=True))
    confidence = shifted[np.arange(len(labels)), labels] / shifted.sum(axis=1)
    return (logits.argmax(axis=1) == labels) & (confidence > THRESHOLD)


def spread(logits: np.ndarray, labels: np.ndarray) -> np.ndarray:
    """Standard deviation of the wrong-class logits of each sample, (N,)."""
    wrong = np.ones(logits.shape, dtype=bool)
    wrong[np.arange(len(labels)), labels] = False
    return logits[wrong].reshape(len(labels), -1).std(axis=1)


def compare(runs: dict[str, Path]) -> dict[str, Any]:
    """The values of the picture: the first image, in the data set's order, on which both runs are over-confident."""
    found = {loss: logits_of(run) for loss, run in runs.items()}
    labels, names = next(iter(found.values()))[1:]
    both = np.logical_and.reduce([over_confident(logits, labels) for logits, _, _ in found.values()])
    if not both.any():
        raise SystemExit("no image on which both runs are over-confident")
    first = int(np.flatnonzero(both)[0])
    return {
        "rule": "the first evaluation image that both runs classify correctly with a probability above 0.99",
        "image": str(names[first]),
        "label": int(labels[first]),
        "images": len(labels),
        "over_confident_in_both": int(both.sum()),
        "runs": {
            loss: {
                "logits": found[loss][0][first].tolist(),
                "over_confident": int(over_confident(found[loss][0], labels).sum()),
                "mean_spread": float(spread(found[loss][0], labels)[both].mean()),
                "options": (run / "options.yaml").read_text(encoding="utf-8"),
                "loss": json.loads((run / "run.json").read_text(encoding="utf-8"))["loss"],
            }
            for loss, run in runs.items()
        },
        "environment": environment(),
    }


def draw(record: dict[str, Any], path: Path) -> None:
    """One panel for each run: the logits of the image by class, and the mean of the wrong ones."""
    from matplotlib.figure import Figure

    titles = {"ce": "cross entropy", "sosr": "cross entropy + SOSR"}
    figure = Figure(figsize=(8.4, 3.4), layout="constrained")
    axes = figure.subplots(1, len(record["runs"]), sharey=True)
    label = record["label"]
    for axis, (loss, run) in zip(axes, record["runs"].items(), strict=True):
        logits = np.array(run["logits"])
        wrong = np.delete(logits, label)
        colors = [ORANGE if index == label else BLUE for index in range(len(logits))]
        axis.bar(range(len(logits)), logits, color=colors)
        axis.axhline(wrong.mean(), color=GREY, linewidth=1.2, linestyle="--")
        axis.axhline(0, color="black", linewidth=0.8)
        axis.set_title(f"{titles[loss]}\nwrong-class logits: standard deviation {wrong.std():.2f}", fontsize=11)
        axis.set_xticks(range(len(logits)))
        axis.set_xlabel(f"class (the label is {label})")
        axis.spines[["top", "right"]].set_visible(False)
    axes[0].set_ylabel("logit")
    with replacing(path) as temporary:
        figure.savefig(temporary, dpi=120, format="png")


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("runs", nargs="*", type=Path, metavar="RUN", help="folders of a run with ce and one with sosr")
    runs = parser.parse_args().runs
    if len(runs) not in (0, 2):
        parser.error(f"give two runs, or none to draw the stored values again; not {len(runs)}")
    if runs:
        write_json(RECORD, compare(dict(zip(("ce", "sosr"), runs, strict=True))))
    draw(json.loads(RECORD.read_text(encoding="utf-8")), PICTURE)


if __name__ == "__main__":
    main()
