"""The model card of a published run, from its records: every number in it is read from a file."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import torch
from huggingface_hub import EvalResult, ModelCard, ModelCardData

from sosr_timm.environment import PACKAGES
from sosr_timm.errors import UserError
from sosr_timm.extras import import_extra
from sosr_timm.hub.datasets import Dataset
from sosr_timm.hub.methods import Method, methods_of
from sosr_timm.hub.model_folder import Model
from sosr_timm.hub.published import method_of, published_values
from sosr_timm.losses.spec import parse_loss
from sosr_timm.metrics.titles import ONE_CLASS, titles
from sosr_timm.models.weights import needs_this_package
from sosr_timm.options.train_data import DataOptions
from sosr_timm.results import RunResult
from sosr_timm.setup.stored_run import StoredRun
from sosr_timm.text import counted, markdown_table
from sosr_timm.validation.reports import RELIABILITY

TEMPLATE = Path(__file__).parent / "card.md.jinja"
# The Hub's names of our metrics.
HUB_NAMES = {"top1": "accuracy", "top5": "accuracy", "loss": "nll", "ece": "ece", "brier": "brier_score"}
TIMM_BIBTEX = """\
@misc{rw2019timm,
  title     = {PyTorch Image Models},
  author    = {Ross Wightman},
  year      = {2019},
  publisher = {GitHub},
  doi       = {10.5281/zenodo.4414861}
}"""


def write_card(
    path: Path,
    repo_id: str,
    model: Model,
    run: StoredRun,
    result: RunResult,
    evaluation: dict[str, Any],
    title: str,
    dataset: Dataset,
    files: Sequence[str],
) -> None:
    """Write README.md.

    Args:
        path: of the file.
        repo_id: repository on the Hub.
        model: that is published.
        run: it comes from.
        result: the run's record.
        evaluation: evaluation.json of the checkpoint.
        title: which weights of it ("weights", "ema").
        dataset: the run's.
        files: beside the card.

    Raises:
        UserError: the Hub's own library does not take the metadata.
    """
    metrics = evaluation["weights"][title]
    spec = parse_loss(result.loss)
    methods = methods_of(spec)
    try:
        data = card_data(repo_id, model, run, metrics, methods, dataset)
    except ValueError as error:
        raise UserError(f"the card's metadata: {error}") from None
    form = model.image_format
    with torch.no_grad():
        features = model.module.eval().forward_features(torch.zeros(1, *form.input_size))
    import_extra("jinja2", "hub", "a model card")
    card = ModelCard.from_template(
        data,
        template_path=str(TEMPLATE),
        repo_id=repo_id,
        title=f"`{model.architecture}`",
        data=dataset.title,
        chosen=chosen(run, result, title),
        loss=result.loss,
        methods=methods,
        count=f"{metrics['count']:,}",
        bins=len(metrics["reliability"]["count"]),
        metrics=metrics_table(metrics, model.module.num_classes),
        reliability=RELIABILITY in files,
        published=published_table(
            published_values(dataset.key, result.model, method_of(spec, run.options.augmentation)), result
        ),
        own_model=needs_this_package(model.architecture),
        image_mode=form.image_mode,
        height=form.height,
        width=form.width,
        num_classes=model.module.num_classes,
        num_features=model.module.num_features,
        feature_shape=tuple(features.shape),
        training=markdown_table(("", ""), training_rows(model, run, result, dataset)),
        timm_bibtex=TIMM_BIBTEX,
    )
    path.write_text(str(card).rstrip() + "\n", encoding="utf-8")


def card_data(
    repo_id: str,
    model: Model,
    run: StoredRun,
    metrics: dict[str, Any],
    methods: Sequence[Method],
    dataset: Dataset,
) -> ModelCardData:
    """The metadata on top of the card, the model index among it.

    Raises:
        ValueError: the Hub's library refuses it.
    """
    results = [
        EvalResult(
            task_type="image-classification",
            task_name="Image Classification",
            dataset_type=dataset.hub_id or dataset.key,
            dataset_name=dataset.title,
            dataset_split=split_name(run.options.data),
            metric_type=HUB_NAMES[name],
            metric_name=f"{title.full} ({title.unit})" if title.unit else title.full,
            metric_value=metrics[name],
        )
        for name, title in titles(num_classes=model.module.num_classes).items()
    ]
    named = run.options.model.model
    base = named.partition(":")[2] if named.startswith(("hf-hub:", "hf_hub:")) else None
    papers = dict.fromkeys(f"arxiv:{method.arxiv}" for method in methods if method.arxiv)
    return ModelCardData(
        library_name="timm",
        pipeline_tag="image-classification",
        license=model.license,
        datasets=[dataset.hub_id] if dataset.hub_id else None,
        metrics=["accuracy"],
        base_model=base,
        tags=["image-classification", "timm", "sosr_timm", *papers],
        model_name=repo_id.rpartition("/")[2],
        eval_results=results,
    )


def split_name(data: DataOptions) -> str:
    """What the model was evaluated on, for the metadata."""
    if data.val_fraction is None:
        return data.val_split
    return f"{data.train_split} (about {data.val_fraction:g} of it, held out)"


def metrics_table(metrics: dict[str, Any], num_classes: int) -> str:
    """The metrics of an evaluation as one row."""
    shown = titles(num_classes=num_classes)
    columns = [title.heading for title in shown.values()]
    return markdown_table(columns, [[title.value(metrics[name]) for name, title in shown.items()]], columns)


def published_table(published: Sequence[dict[str, str]], result: RunResult) -> str:
    """Published values and the run's own best one; empty where none are published."""
    if not published:
        return ""
    columns = ("source", ONE_CLASS["top1"].heading)
    rows = [(row["source"], row["value"]) for row in published]
    return markdown_table(
        columns, [*rows, ("this run, best epoch", ONE_CLASS["top1"].value(result.best["top1"]))], columns[1:]
    )


def chosen(run: StoredRun, result: RunResult, title: str) -> str:
    """Which weights of the run these are, and how they were chosen."""
    epoch = int(run.checkpoint.name.removeprefix("epoch").partition("-")[0])
    text = f"These are the {'EMA ' if title == 'ema' else ''}weights after {epoch} of {counted(result.epochs, 'epoch')}"
    if epoch == result.epochs:
        return f"{text}."
    selected = f"selected on the evaluation split by `{run.options.run.eval_metric}`"
    return f"{text}, {selected}, so the values below are optimistic."


def training_rows(model: Model, run: StoredRun, result: RunResult, dataset: Dataset) -> list[tuple[str, str]]:
    """How it was made, as rows of a table."""
    form, environment = model.image_format, result.environment
    parameters = sum(parameter.numel() for parameter in model.module.parameters())
    device = ", ".join(environment.get("gpus") or []) or f"{environment.get('cpu')}, {environment.get('cores')} cores"
    versions = [f"{name} {environment[name]}" for name in ("sosr_timm", *PACKAGES) if environment.get(name)]
    both = (("best", result.best), ("last", result.last))
    return [
        ("model", f"`{result.model}`, {parameters:,} parameters"),
        ("data", dataset.title),
        ("images", f"{form.channels} x {form.height} x {form.width}, mean {list(form.mean)}, std {list(form.std)}"),
        ("command", f"`{result.command}`"),
        ("epochs", str(result.epochs)),
        ("seed", str(result.seed)),
        ("hours", f"{result.seconds / 3600:.2f}"),
        ("hardware", f"{result.processes} x {device}"),
        ("versions", ", ".join(versions)),
        ("commit", f"`{environment.get('commit')}`"),
        *((f"{name} epoch", f"{int(of['epoch'])}: {ONE_CLASS['top1'].text(of['top1'])}") for name, of in both),
    ]
