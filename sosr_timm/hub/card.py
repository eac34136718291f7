"""The model card of a published run, from its records: every figure in it is read from a file."""

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
from sosr_timm.models.weights import needs_this_package
from sosr_timm.results import RunResult
from sosr_timm.setup.stored_run import StoredRun
from sosr_timm.validation.reports import RELIABILITY

TEMPLATE = Path(__file__).parent / "card.md.jinja"
# Key in evaluation.json, its name on the Hub, its name for people, digits in the card.
METRICS = (
    ("top1", "accuracy", "Top-1 accuracy (%)", 2),
    ("top5", "accuracy", "Top-5 accuracy (%)", 2),
    ("loss", "nll", "Negative log-likelihood (nats)", 4),
    ("ece", "ece", "Expected calibration error", 4),
    ("brier", "brier_score", "Brier score", 4),
)
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
        title: which weights of it ("weights", "average of weights").
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
        features = model.network.eval().forward_features(torch.zeros(1, *form.input_size))
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
        figures=[f"{metrics[name]:.{digits}f}" for name, _, _, digits in METRICS],
        reliability=RELIABILITY in files,
        published=published_values(dataset.key, result.model, method_of(spec, run.options.augmentation)),
        best_top1=f"{result.best['top1']:.2f}",
        own_network=needs_this_package(model.architecture),
        image_mode=form.image_mode,
        height=form.height,
        width=form.width,
        num_classes=model.network.num_classes,
        num_features=model.network.num_features,
        feature_shape=tuple(features.shape),
        training=training_rows(model, run, result, dataset),
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
            dataset_split=run.options.data.val_split,
            metric_type=kind,
            metric_name=name,
            metric_value=metrics[key],
        )
        for key, kind, name, _ in METRICS
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


def chosen(run: StoredRun, result: RunResult, title: str) -> str:
    """Which weights of the run these are, and how they were chosen."""
    epoch = int(run.checkpoint.name.removeprefix("epoch").partition("-")[0])
    text = f"These are the {title} after epoch {epoch} of {result.epochs}"
    if epoch == result.epochs:
        return f"{text}, the last."
    return f"{text}, the best of them on the evaluation split by `{run.options.run.eval_metric}`: its figures flatter."


def training_rows(model: Model, run: StoredRun, result: RunResult, dataset: Dataset) -> list[tuple[str, str]]:
    """How it was made, as rows of a table."""
    form, environment = model.image_format, result.environment
    parameters = sum(parameter.numel() for parameter in model.network.parameters())
    device = ", ".join(environment.get("gpus") or []) or f"{environment.get('cpu')}, {environment.get('cores')} cores"
    versions = [f"{name} {environment[name]}" for name in ("sosr_timm", *PACKAGES) if environment.get(name)]
    return [
        ("network", f"`{result.model}`, {parameters:,} parameters"),
        ("data", dataset.title),
        ("images", f"{form.channels} x {form.height} x {form.width}, mean {list(form.mean)}, std {list(form.std)}"),
        ("command", f"`{result.command}`"),
        ("epochs", str(result.epochs)),
        ("seed", str(result.seed)),
        ("hours", f"{result.seconds / 3600:.2f}"),
        ("hardware", f"{result.processes} x {device}"),
        ("versions", ", ".join(versions)),
        ("commit", f"`{environment.get('commit')}`"),
        ("best epoch", f"{int(result.best['epoch']) + 1}: top-1 {result.best['top1']:.2f} %"),
        ("last epoch", f"{int(result.last['epoch']) + 1}: top-1 {result.last['top1']:.2f} %"),
    ]
