"""The trackers of a run: TensorBoard, Weights & Biases, trackio, through Accelerate."""

from __future__ import annotations

import importlib.util
from typing import Any

from accelerate import Accelerator
from accelerate.tracking import filter_trackers

from sosr_timm.checkpoints.run_folder import RunFolder
from sosr_timm.errors import UserError
from sosr_timm.options.train import RunOptions
from sosr_timm.registry import close_names

TRACKERS = ("tensorboard", "wandb", "trackio")


def trackers_of(options: RunOptions) -> tuple[str, ...]:
    """--log-with, and what --log-wandb adds.

    Raises:
        UserError: a flag of wandb where nothing is logged with it.
    """
    names = options.log_with
    if options.log_wandb and "wandb" not in names:
        names = (*names, "wandb")
    given = {"project": options.wandb_project, "tags": options.wandb_tags, "resume-id": options.wandb_resume_id}
    for name, value in given.items():
        if value and "wandb" not in names:
            raise UserError(f"--wandb-{name} has no effect without --log-wandb")
    return names


def check_trackers(names: tuple[str, ...]) -> None:
    """Raise for a tracker that is unknown or not installed.

    Raises:
        UserError: with what to do.
    """
    for name in names:
        if name not in TRACKERS:
            raise UserError(f"--log-with {name}: {close_names(name, TRACKERS)}")
        if importlib.util.find_spec(name) is None:
            raise UserError(f"--log-with {name}: not installed; pip install {name}, or 'sosr-timm[tracking]'")


def start_trackers(
    accelerator: Accelerator, options: RunOptions, folder: RunFolder, values: dict[str, Any], step: int
) -> None:
    """Open the trackers of a run; a resumed run continues the same record.

    Args:
        accelerator: that logs.
        options: which trackers, and under which project.
        folder: of the run; its name is the run's identity with the trackers.
        values: options to store with the run.
        step: updates done, after which older entries of a stopped run are hidden.
    """
    names = trackers_of(options)
    if not names:
        return
    check_trackers(names)
    accelerator.project_configuration.set_directories(str(folder.path))
    accelerator.log_with = filter_trackers(list(names), str(folder.path))
    identity = folder.path.name
    resume = {
        "tensorboard": {"purge_step": step + 1} if step else {},
        "wandb": {
            "name": identity,
            "id": options.wandb_resume_id or identity,
            "resume": "must" if options.wandb_resume_id else "allow",
            "dir": str(folder.path),
            "tags": list(options.wandb_tags) or None,
        },
        "trackio": {"name": identity, "resume": "allow"},
    }
    simple = {
        name: value if isinstance(value, (int, float, str, bool)) else str(value) for name, value in values.items()
    }
    project = options.wandb_project or options.project
    accelerator.init_trackers(project, config=simple, init_kwargs={name: resume[name] for name in names})
