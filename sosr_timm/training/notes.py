"""What a run says at its start about options that have no effect or mean something else than their user may expect."""

from __future__ import annotations

from sosr_timm.options.load import other_meanings
from sosr_timm.options.train import DataOptions
from sosr_timm.training.run import Run


def notes_of(run: Run) -> list[str]:
    """One line for each."""
    return [*without_effect(run.options.data), *other_meanings(run.options), *larger_head(run), *no_evaluation(run)]


def without_effect(options: DataOptions) -> list[str]:
    """Options of timm that change nothing here."""
    notes = []
    if options.worker_seeding != "all":
        notes.append(
            "--worker-seeding part changes nothing: every image is seeded by itself, not by its loader process"
        )
    if options.use_multi_epochs_loader:
        notes.append("--use-multi-epochs-loader changes nothing: loader processes always work on over epochs")
    return notes


def no_evaluation(run: Run) -> list[str]:
    """A run that evaluates nothing."""
    if run.evaluation is not None:
        return []
    return [
        "--val-split is empty: no evaluation; the best checkpoint is that of the smallest training loss, as in timm"
    ]


def larger_head(run: Run) -> list[str]:
    """A model with more classes than its data set."""
    known, outputs = run.training.source.info.num_classes, run.model.num_classes
    if known is None or known == outputs:
        return []
    return [
        f"--num-classes {outputs}: the data set has {known} classes, no image has one of the other {outputs - known}"
    ]
