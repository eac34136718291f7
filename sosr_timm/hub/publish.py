"""A run becomes a directory in timm's Hub format with a card, and that directory a repository."""

from __future__ import annotations

from pathlib import Path

from sosr_timm.data.sources.source import names_of_classes
from sosr_timm.errors import UserError
from sosr_timm.hub.card import write_card
from sosr_timm.hub.datasets import dataset_of
from sosr_timm.hub.evidence import evaluation_of, result_of, write_evidence
from sosr_timm.hub.model_folder import CARD, Model, new_folder, tag_of, write_model
from sosr_timm.hub.push import check_repository, push
from sosr_timm.options.hub import PublishOptions, WeightsOptions
from sosr_timm.options.validate import ValidateOptions
from sosr_timm.setup.stored_run import StoredRun, find_run, format_of_run, models_of_run

WEIGHTS = {False: "weights", True: "ema"}  # by --ema, as a record calls them
HUB = "hub"  # folder in the run folder


def publish(options: PublishOptions) -> int:
    """Write a run's directory in timm's Hub format and push it.

    Returns:
        0.

    Raises:
        UserError: anything that the user can fix; a directory that was written is kept.
    """
    if not options.run.run_folder:
        raise UserError("publish: name the run folder to publish")
    repo_id = check_repository(options.repository.repo_id)
    run = find_run(options.run.run_folder, options.weights.which)
    if run is None:
        raise UserError(f"{options.run.run_folder} is not a run folder")
    folder = Path(options.card.dry_run or run.folder.path / HUB / repo_id.rpartition("/")[2])
    with new_folder(folder, replace=options.card.dry_run is None) as temporary:
        fill(temporary, run, repo_id, options)
    print(f"written to {folder}")
    if options.card.dry_run is None:
        push(folder, repo_id, options.repository.private)
    return 0


def fill(folder: Path, run: StoredRun, repo_id: str, options: PublishOptions) -> None:
    """Write everything that the repository will hold."""
    result = result_of(run)
    title = WEIGHTS[options.weights.ema]
    model = model_of_run(run, options.weights, tag_of(repo_id), options.card.license)
    evaluation = evaluation_of(run)
    write_model(model, folder)
    files = write_evidence(run, folder)
    dataset = dataset_of(run.options, result.recipe, options.card.dataset_id)
    write_card(folder / CARD, repo_id, model, run, result, evaluation, title, dataset, files)


def model_of_run(run: StoredRun, weights: WeightsOptions, tag: str, license: str) -> Model:
    """The model of a run with the chosen weights."""
    module = models_of_run(run, only_ema=weights.ema)[WEIGHTS[weights.ema]]
    form = format_of_run(run, ValidateOptions())
    names = names_of_classes(run.about.get("class_names"), module.num_classes)
    return Model(module, form, names, tag, license)
