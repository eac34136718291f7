"""The content of a page from run folders, finished or not."""

from __future__ import annotations

import json
from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import Any

import yaml

from sosr_timm.checkpoints.run_folder import RESULT, RunFolder
from sosr_timm.errors import UserError, one_line
from sosr_timm.metrics.titles import LOWER_IS_BETTER, MANY_LABELS, ONE_CLASS, SELECTIVE, Title
from sosr_timm.options.fields import TRAINING, options_of
from sosr_timm.options.train import TrainOptions
from sosr_timm.page.content import EPOCHS, Content, Group, Run
from sosr_timm.runner.collect import history_of
from sosr_timm.runner.statistics import mean_of
from sosr_timm.text import counted

EVALUATION = "evaluation.json"
DEEPEST = 3  # levels below a named folder that are searched for runs
NOT_COMPARED = ("seed",)  # options of one run among those that are otherwise the same


def find_runs(folder: Path) -> list[Path]:
    """The run folders in a folder, or the folder itself, by path.

    Raises:
        UserError: there is none.
    """
    if not folder.exists():
        raise UserError(f"{folder} does not exist")
    found = sorted(_below(folder, DEEPEST))
    if not found:
        raise UserError(f"{folder} holds no run: no folder in it has a run.json and an options.yaml")
    return found


def _below(folder: Path, depth: int) -> Iterable[Path]:
    if RunFolder(folder).is_run:
        yield folder
    elif depth and folder.is_dir():
        for path in folder.iterdir():
            if path.is_dir() and not path.is_symlink() and not path.name.startswith("."):
                yield from _below(path, depth - 1)


class StoredRun:
    """What a run's folder holds.

    Args:
        folder: of the run.

    Raises:
        UserError: one of its files is damaged.
    """

    def __init__(self, folder: Path):
        self.folder = folder
        files = RunFolder(folder)
        try:
            self.about = json.loads(files.about.read_text(encoding="utf-8"))
            self.options = yaml.safe_load(files.options.read_text(encoding="utf-8"))
            self.history = history_of(files) if files.metrics.is_file() else []
            self.result = _json(folder / RESULT)
            self.evaluation = evaluation_of(_json(folder / EVALUATION))
            self.loss, self.epochs, self.seed = self.about["loss"], self.about["epochs"], int(self.options["seed"])
        except (OSError, ValueError, KeyError, TypeError, AttributeError, yaml.YAMLError) as error:
            raise UserError(f"{folder} cannot be read ({one_line(error)})") from None

    @property
    def state(self) -> str:
        """How far it is, in words."""
        return "complete" if self.result else f"{len(self.history)} of {counted(self.epochs, 'epoch')}"

    @property
    def trained(self) -> dict[str, Any]:
        """The options that decide what is trained, without the seed."""
        scopes = {name: option.scope for name, option in options_of(TrainOptions).items()}
        return {
            name: value
            for name, value in self.options.items()
            if scopes.get(name, TRAINING) == TRAINING and name not in NOT_COMPARED
        }

    def values(self, epoch: str) -> dict[str, float]:
        """The metrics of the last or the best epoch: those of result.json, or so far."""
        selective = self.evaluation.get(epoch, {})
        more = {name: selective[name] for name in SELECTIVE if isinstance(selective.get(name), (int, float))}
        if self.result:
            found = {name: value for name, value in self.result[epoch].items() if name != "epoch"}
        else:
            found = self._values_so_far(epoch)
        return {name: value for name, value in (found | more).items() if isinstance(value, (int, float))}

    def _values_so_far(self, epoch: str) -> dict[str, float]:
        evaluated = [one for one in self.history if any(key.startswith("eval_") for key in one)]
        if epoch == "best":
            by_metric = str(self.options.get("eval_metric") or "top1")
            evaluated = [one for one in evaluated if isinstance(one.get(f"eval_{by_metric}"), (int, float))]
            best = min if by_metric in LOWER_IS_BETTER else max
            evaluated = [best(evaluated, key=lambda one: one[f"eval_{by_metric}"])] if evaluated else []
        found = evaluated[-1] if evaluated else {}
        return {key.removeprefix("eval_"): value for key, value in found.items() if key.startswith("eval_")}


def _json(path: Path) -> dict[str, Any]:
    return json.loads(path.read_text(encoding="utf-8")) if path.is_file() else {}


def evaluation_of(content: dict[str, Any]) -> dict[str, dict[str, Any]]:
    """Reliability and risk-coverage curves of an evaluation.json, by epoch.

    `validate.py` evaluates one checkpoint, the best one unless told otherwise; a comparison both.
    """
    if "weights" in content and isinstance(content["weights"], dict):
        weights = content["weights"].get("ema") or content["weights"].get("weights") or {}
        selective = weights.get("selective") or {}
        chosen = selective.get("max_softmax") or {}
        found = {name: value for name, value in chosen.items() if name in SELECTIVE}
        if weights.get("reliability"):
            found["reliability"] = weights["reliability"]
        if chosen.get("risk"):
            found["risk_coverage"] = {"coverage": selective["coverage"], "risk": chosen["risk"]}
        return {"best": found} if found else {}
    return {epoch: content[epoch] for epoch in EPOCHS if isinstance(content.get(epoch), dict)}


def content_of_runs(folders: Sequence[Path], title: str = "") -> Content:
    """The content of a page about run folders.

    Args:
        folders: of the runs.
        title: of the page.

    Raises:
        UserError: a run's file is damaged.
    """
    stored = [StoredRun(folder) for folder in folders]
    grouped: dict[str, list[StoredRun]] = {}
    for run in sorted(stored, key=lambda run: run.folder.name):
        grouped.setdefault(json.dumps(run.trained, sort_keys=True, default=str), []).append(run)
    labels, same, different = label_groups(list(grouped.values()))
    groups, runs = [], []
    for label, members in zip(labels, grouped.values(), strict=True):
        members.sort(key=lambda run: (run.seed, run.folder.name))
        groups.append(group_of(label, members))
        runs += [run_of(label, member) for member in members]
    metrics = metrics_of(groups)
    complete = all(run.result for run in stored)
    return Content(
        title=title or (f"Run {folders[0].name}" if len(folders) == 1 else counted(len(folders), "run")),
        summary=summary_of(groups, metrics, stored),
        notes=NOTES,
        facts=facts_of(stored),
        metrics=metrics,
        groups=groups,
        runs=runs,
        baseline="",
        same=same,
        different={name: dict(zip(labels, values, strict=True)) for name, values in different.items()},
        complete=complete,
    )


NOTES = [
    "± is half the width of a 95 % interval over runs with different seeds, by Student's t. One run has none.",
    "Last epoch: nothing was selected. Best epoch: the best on the images of the table, so it is optimistic.",
    "These runs were not planned together, so no differences are tested here. sosr-compare pairs seeds and tests them.",
]


def label_groups(groups: Sequence[Sequence[StoredRun]]) -> tuple[list[str], dict[str, Any], dict[str, list[Any]]]:
    """A unique label for each group, the options that are the same in all, and those that differ with their values."""
    names = list(dict.fromkeys(name for group in groups for name in group[0].trained))
    values = {name: [group[0].trained.get(name) for group in groups] for name in names}
    different = {name: found for name, found in values.items() if len({repr(value) for value in found}) > 1}
    same = {name: found[0] for name, found in values.items() if name not in different}
    labels = [str(group[0].options.get("loss") or group[0].loss) for group in groups]
    if len(set(labels)) < len(labels):
        others = {name: found for name, found in different.items() if name != "loss"}
        labels = [
            ", ".join([label, *(f"{name} {found[place]}" for name, found in others.items())])
            for place, label in enumerate(labels)
        ]
    return (
        [f"{label} ({place + 1})" if labels.count(label) > 1 else label for place, label in enumerate(labels)],
        same,
        different,
    )


def group_of(label: str, members: Sequence[StoredRun]) -> Group:
    """The means of the finished runs of a group; of what there is so far where none is finished."""
    waiting = [run for run in members if not run.result]
    counted_in = [run for run in members if run.result] or members
    values: dict[str, dict[str, Any]] = {}
    for epoch in EPOCHS:
        found = [(run, run.values(epoch)) for run in counted_in]
        names = list(dict.fromkeys(name for _, one in found for name in one))
        values[epoch] = {}
        for name in names:
            # Two runs may have the same seed, in other folders.
            by_run = [(str(run.seed), one[name]) for run, one in found if name in one]
            seeds = [seed for seed, _ in by_run]
            keys = [seed if seeds.count(seed) == 1 else f"{seed} ({place})" for place, seed in enumerate(seeds)]
            mean = mean_of([value for _, value in by_run])
            values[epoch][name] = {
                "mean": mean.value,
                "half_width": mean.half_width,
                "n": mean.n,
                "values": dict(zip(keys, [value for _, value in by_run], strict=True)),
            }
    done = [run.result["seconds"] for run in members if run.result]
    seconds = mean_of(done) if done else None
    return Group(
        label=label,
        full_form=members[0].loss,
        status="under way" if waiting else "complete",
        reason="; ".join(f"seed {run.seed}: {run.state}" for run in waiting),
        seeds=[run.seed for run in counted_in],
        values=values,
        seconds={"mean": seconds.value, "half_width": seconds.half_width, "n": seconds.n} if seconds else {},
    )


def run_of(label: str, member: StoredRun) -> Run:
    """A run for the page."""
    seconds = member.result.get("seconds") if member.result else None
    return Run(
        group=label,
        seed=member.seed,
        name=member.folder.name,
        state=member.state,
        history=member.history,
        evaluation=member.evaluation,
        command=str(member.about.get("command", "")),
        environment=member.about.get("environment") or {},
        seconds=seconds,
    )


def metrics_of(groups: Sequence[Group]) -> dict[str, Title]:
    """The titles of the metrics that groups have, the known ones first."""
    names = {name for group in groups for epoch in EPOCHS for name in group.values[epoch]}
    known = {**(MANY_LABELS if "map" in names and "top1" not in names else ONE_CLASS), **SELECTIVE}
    shown = ("top1", "top5", "loss", "ece", "brier", "map", "micro_f1", "macro_f1", "sample_f1", "aurc")
    found = {name: known[name] for name in shown if name in names and name in known}
    more = sorted(name for name in names - found.keys() if name not in SELECTIVE and not name.endswith("_raw"))
    return found | {name: Title(name.replace("_", " "), 4, full=name.replace("_", " ")) for name in more}


def summary_of(groups: Sequence[Group], metrics: dict[str, Title], runs: Sequence[StoredRun]) -> list[str]:
    """What the runs reached, without a claim about differences."""
    several = f" in {counted(len(groups), 'group')} that differ in more than the seed" if len(groups) > 1 else ""
    waiting = sum(not run.result for run in runs)
    sentences = [f"{counted(len(runs), 'run')}{several}" + (f", {waiting} of them not finished." if waiting else ".")]
    for name, title in list(metrics.items())[:1]:
        found = [group for group in groups if name in group.values["last"]]
        if found:
            pick = min if title.lower_is_better else max
            best = pick(found, key=lambda group: group.values["last"][name]["mean"])
            value = best.values["last"][name]
            interval = "" if value["half_width"] is None else f" ± {title.value(value['half_width'])}"
            extreme = "" if len(found) == 1 else (" is the lowest" if title.lower_is_better else " is the highest")
            reached = f"{title.value(value['mean'])}{interval} {title.unit}".rstrip()
            words = f"{title.full or title.name} of the last epoch: {reached}"
            sentences.append(f"{words} with {best.label}{extreme and ', which' + extreme}.")
    return sentences


def facts_of(runs: Sequence[StoredRun]) -> list[tuple[str, str]]:
    """What the runs trained on: data set, model, epochs, classes."""
    found = []
    data = [
        str(run.options.get("dataset") or run.options.get("data_dir") or run.options.get("data") or "") for run in runs
    ]
    for name, values in (
        ("Data set", [Path(value).name for value in data]),
        ("Model", [str(run.options.get("model", "")) for run in runs]),
        ("Epochs", [str(run.epochs) for run in runs]),
        ("Classes", [str(run.about.get("num_classes", "")) for run in runs]),
    ):
        words = list(dict.fromkeys(value for value in values if value))
        if words:
            found.append((name, ", ".join(words)))
    return found
