"""What a run says at its start about options that have no effect or mean something else than their user may expect."""

from __future__ import annotations

from sosr_timm.data.sources.embedded import unread_directory
from sosr_timm.options.load import other_meanings
from sosr_timm.options.train import DataOptions
from sosr_timm.setup.datasets import class_map_notes
from sosr_timm.text import counted
from sosr_timm.training.run import Run


def notes_of(run: Run) -> list[str]:
    """One line for each."""
    options = run.options
    about_options = [*without_effect(options.data), *other_meanings(options)]
    return [*about_options, *about_data(run), *larger_head(run), *no_evaluation(run)]


def without_effect(options: DataOptions) -> list[str]:
    """Options that change nothing here."""
    notes = unread_directory(options.dataset, options.data or options.data_dir)
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


def about_data(run: Run) -> list[str]:
    """Images and classes that are not what training and evaluation should have."""
    origin, order, group = run.training.source.info.origin, run.order, run.options.optimizer.grad_accum_steps
    notes = []
    if origin.get("evaluation_is_training"):
        notes.append("warning: the evaluation images are the training images, so the metrics say nothing of new ones")
    notes += class_map_notes(run.options.data.class_map, origin)
    if group > order.batches_per_epoch:
        batches = counted(order.batches_per_epoch, "batch", "batches")
        notes.append(f"warning: --grad-accum-steps {group}: an epoch has {batches}, so no update has more")
    return notes


def larger_head(run: Run) -> list[str]:
    """A model with more classes than its data set."""
    known, outputs = run.training.source.info.num_classes, run.model.num_classes
    if known is None or known == outputs:
        return []
    return [
        f"--num-classes {outputs}: the data set has {known} classes, no image has one of the other {outputs - known}"
    ]
