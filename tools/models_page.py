"""MODELS.md, which weights there are, from what is shipped and registered: python -m tools.models_page"""

from __future__ import annotations

import json
import sys
from pathlib import Path

import timm
from timm.models import get_pretrained_cfg

from sosr_timm.metrics.titles import ONE_CLASS
from sosr_timm.models.weights import HUB_ORGANISATION, PUBLISHED, SHIPPED
from sosr_timm.results import load_result
from sosr_timm.text import markdown_table
from tools.checkout import ROOT
from tools.generated import run_writer

PAGE = ROOT / "MODELS.md"
METRICS = ("top1", "loss", "ece")
PREFACE = f"""\
# Models

Written by `python -m tools.models_page`; do not edit. How weights are published and loaded:
[docs/hub.md](docs/hub.md). `{HUB_ORGANISATION}` is a placeholder for the organisation on the Hub, `HUB_ORGANISATION` in
`sosr_timm/models/weights.py`.
"""


def page() -> str:
    """The text of MODELS.md."""
    entries = [name for name in timm.list_models("sosr_*", pretrained=True) if get_pretrained_cfg(name).hf_hub_id]
    published = [name for name in entries if name in PUBLISHED]
    waiting = [name for name in entries if name not in PUBLISHED]
    return "\n".join(
        [
            PREFACE,
            "## On the Hub\n",
            *([f"- `timm.create_model({name!r}, pretrained=True)`" for name in published] or ["Nothing yet."]),
            "\n## With the package\n",
            "Offline, after `import sosr_timm`. NLL in nats, ECE over 15 bins; the metrics are those of its",
            "`evaluation.json`.\n",
            *shipped_table(sorted(path for path in SHIPPED.iterdir() if path.is_dir())),
            "\n## Waiting for somebody with the data and the GPUs\n",
            "Registered, with recipe and repository, but never trained here. Two commands each, and the name loads.\n",
            *[line for name in waiting for line in waiting_lines(name)],
        ]
    )


def shipped_table(folders: list[Path]) -> list[str]:
    """A row for each folder, and the command that trained it."""
    headings = [ONE_CLASS[name].heading for name in METRICS]
    rows, commands = [], []
    for folder in folders:
        result = load_result(folder / "result.json")
        evaluation = json.loads((folder / "evaluation.json").read_text(encoding="utf-8"))
        values = [ONE_CLASS[name].value(evaluation["weights"]["weights"][name]) for name in METRICS]
        epoch = int(evaluation["subject"].split()[-1].removeprefix("epoch").partition("-")[0])
        card = (folder / "README.md").relative_to(ROOT).as_posix()
        about = [f"`{folder.name}`", f"`{result.loss}`", str(result.epochs), f"epoch {epoch}"]
        rows.append([*about, *values, f"[card]({card})"])
        commands += [f"\n`{folder.name}` was trained by\n", f"    accelerate launch {result.command}"]
    columns = ("name", "loss", "epochs", "weights of", *headings, "card")
    return [markdown_table(columns, rows, ("epochs", *headings)), *commands]


def waiting_lines(name: str) -> list[str]:
    """How the weights of an entry come to be."""
    model = name.partition(".")[0]
    return [
        f"`{name}`:\n",
        f"    accelerate launch train.py --config hparams/imagenet/{model}.yaml --loss sosr",
        f"    sosr-hub publish RUN_FOLDER --repo-id {get_pretrained_cfg(name).hf_hub_id}\n",
    ]


if __name__ == "__main__":
    sys.exit(run_writer(PAGE, page, __doc__))
