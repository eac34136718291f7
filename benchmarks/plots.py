"""A picture of each stored benchmark, docs/bench_*.png from results/bench_*.json: python -m benchmarks.plots"""

from __future__ import annotations

import argparse
import json
from collections.abc import Callable
from typing import Any

import matplotlib

matplotlib.use("Agg")
import matplotlib.pyplot as plt
from matplotlib.axes import Axes
from matplotlib.figure import Figure

from tools.checkout import ROOT

LOSSES = (
    "ours ce",
    "ours ce+sosr",
    "ours ce+sosr+maxsup+cp",
    "timm label smoothing",
    "plain ce+sosr",
    "compiled ce+sosr",
)


def loss(record: dict[str, Any], figure: Figure) -> None:
    """Time over torch's cross entropy where every sample is over-confident, the dearest case."""
    rows = [row for row in record["results"] if row["share"] == 1.0]
    names = [name for name in LOSSES if name in rows[0]["ratios"]]
    axis = figure.subplots()
    width = 0.8 / len(names)
    for place, name in enumerate(names):
        positions = [index + width * (place - (len(names) - 1) / 2) for index in range(len(rows))]
        axis.bar(positions, [row["ratios"][name] for row in rows], width=0.9 * width, label=name)
    axis.set_xticks(range(len(rows)), [f"{row['rows']} x {row['classes']}" for row in rows])
    axis.set_xlabel("samples x classes, every sample over-confident")
    axis.set_ylabel("time / torch cross entropy")
    axis.set_title("Loss, forward and backward")
    axis.axhline(1.0, color="black", linewidth=0.8)
    figure.legend(loc="outside lower center", ncols=3, frameon=False)


def horizontal(axis: Axes, values: dict[str, float], label: str, title: str, style: str) -> None:
    """A bar for each, with its number behind it."""
    names = list(values)[::-1]
    bars = axis.barh(names, [values[name] for name in names])
    # White behind the numbers, so that no line runs through them.
    axis.bar_label(bars, fmt=style, padding=4, bbox={"facecolor": "white", "edgecolor": "none", "pad": 1})
    axis.margins(x=0.15)
    axis.set_xlabel(label)
    axis.set_title(title)


def loader(record: dict[str, Any], figure: Figure) -> None:
    title = f"Fashion-MNIST, crop and flip, {record['workers']} loader processes"
    horizontal(figure.subplots(), record["images_per_second"], "images per second", title, "{:,.0f}")


def step(record: dict[str, Any], figure: Figure) -> None:
    ratios = {spec: row["over_ce"] for spec, row in record["steps"].items() if spec != "ce"}
    axis = figure.subplots()
    title = f"A training step of {record['model']}, batch {record['batch_size']}"
    horizontal(axis, ratios, "time / the step with ce", title, "{:.3f}")
    axis.axvline(1.0, color="black", linewidth=0.8)


def train(record: dict[str, Any], figure: Figure) -> None:
    ratios = {name.replace(", batches", ",\nbatches"): row["ours_over_timm"] for name, row in record["works"].items()}
    axis = figure.subplots()
    title = f"A training step with SOSR, {record['threads']} threads"
    horizontal(axis, ratios, "time / plain loop over timm with cross entropy", title, "{:.3f}")
    axis.axvline(1.0, color="black", linewidth=0.8)


PICTURES: dict[str, Callable[[dict[str, Any], Figure], None]] = {
    "bench_loss": loss,
    "bench_loader": loader,
    "bench_step": step,
    "bench_train": train,
}


def main() -> None:
    argparse.ArgumentParser(description=__doc__).parse_args()
    for path in sorted((ROOT / "results").glob("bench_*.json")):
        draw = next((picture for name, picture in PICTURES.items() if path.stem.startswith(name)), None)
        if draw is None:
            continue
        figure = plt.figure(figsize=(9, 4), layout="constrained")
        draw(json.loads(path.read_text(encoding="utf-8")), figure)
        figure.savefig(ROOT / "docs" / f"{path.stem}.png", dpi=120)
        plt.close(figure)
        print(ROOT / "docs" / f"{path.stem}.png")


if __name__ == "__main__":
    main()
