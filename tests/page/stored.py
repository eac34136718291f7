"""Run folders as training leaves them, without training."""

from __future__ import annotations

import json
from pathlib import Path

import yaml

from sosr_timm.results import RunResult, save_result

BINS = 5
OPTIONS = {"dataset": "digits", "model": "cifar_resnet20", "lr": 0.1, "eval_metric": "top1", "output": "output/train"}
ENVIRONMENT = {"cpu": "a processor", "cores": 2, "gpus": [], "torch": "2.15.0"}


def values_of(epoch: int, seed: int, gain: float) -> dict[str, float]:
    """Metrics that improve with the epochs."""
    return {"top1": 60.0 + 5 * epoch + seed + gain, "loss": 1.5 - 0.2 * epoch - 0.01 * seed, "ece": 0.02 * epoch}


def stored_run(
    folder: Path,
    loss: str = "ce",
    seed: int = 0,
    epochs: int = 4,
    done: int | None = None,
    gain: float = 0.0,
    **options,
) -> Path:
    """Write a run folder.

    Args:
        folder: of the run.
        loss: as given and in its full form.
        seed: of the run.
        epochs: planned.
        done: trained; all where not given, and then there is a result.
        gain: of the top-1 accuracy.
        **options: beside or instead of `OPTIONS`.
    """
    folder.mkdir(parents=True)
    every = {**OPTIONS, "loss": loss, "seed": seed, "experiment": folder.name, **options}
    (folder / "options.yaml").write_text(yaml.safe_dump(every))
    command = f"train.py --loss {loss} --seed {seed}"
    about = {"loss": loss, "epochs": epochs, "num_classes": 10, "command": command, "environment": ENVIRONMENT}
    (folder / "run.json").write_text(json.dumps(about))
    trained = epochs if done is None else done
    lines, rows = [], ["epoch,samples,above_0.9,above_0.99,entropy_0.99,gradient_norm"]
    for epoch in range(trained):
        evaluated = {f"eval_{name}": value for name, value in values_of(epoch, seed, gain).items()}
        lines.append({"kind": "train", "step": epoch, "loss": 1.0})
        lines.append(
            {"kind": "epoch", "epoch": epoch, "train_loss": 2.0 - 0.3 * epoch, **evaluated, "timing": {"seconds": 1}}
        )
        rows.append(f"{epoch},200,{40 * epoch},{20 * epoch},,{1 / (epoch + 1)}")
    (folder / "metrics.jsonl").write_text("".join(json.dumps(line) + "\n" for line in lines))
    (folder / "confidence.csv").write_text("\n".join(rows) + "\n")
    if done is None:
        last = {**values_of(epochs - 1, seed, gain), "epoch": epochs - 1}
        result = RunResult(
            "",
            "digits",
            "cifar_resnet20",
            loss,
            seed,
            epochs,
            last,
            last,
            "0" * 16,
            60.0 + seed,
            1,
            command,
            ENVIRONMENT,
        )
        save_result(result, folder, "result.json")
    return folder


def evaluated(folder: Path) -> Path:
    """Give a run folder the evaluation.json that validate.py writes."""
    edges = [place / BINS for place in range(BINS + 1)]
    reliability = {
        "edges": edges,
        "count": [0, 10, 10, 30, 50],
        "confidence": [None, 0.3, 0.5, 0.7, 0.9],
        "accuracy": [None, 0.2, 0.6, 0.7, 0.95],
    }
    selective = {"coverage": [0.5, 1.0], "max_softmax": {"aurc": 0.05, "risk": [0.02, 0.1]}}
    content = {"weights": {"weights": {"top1": 90.0, "reliability": reliability, "selective": selective}}}
    (folder / "evaluation.json").write_text(json.dumps(content))
    return folder
