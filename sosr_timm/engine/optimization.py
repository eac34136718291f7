"""The optimizer and the learning rate of a run: timm's, the rate a pure function of the update."""

from __future__ import annotations

import torch
from timm.optim import create_optimizer_v2, list_optimizers
from timm.scheduler import create_scheduler_v2
from timm.scheduler.scheduler import Scheduler
from torch import nn

from sosr_timm.errors import UserError
from sosr_timm.options.train import OptimizerOptions, ScheduleOptions
from sosr_timm.registry import close_names

SCHEDULES = ("cosine", "tanh", "step", "multistep", "poly", "wsd", "rsqrt", "constant", "none")


def learning_rate(optimizer: OptimizerOptions, schedule: ScheduleOptions, processes: int) -> float:
    """--lr, or --lr-base scaled by the samples of one update (linearly; by the square root for Adam's kin, as timm)."""
    if schedule.lr is not None:
        return schedule.lr
    ratio = optimizer.batch_size * processes * optimizer.grad_accum_steps / schedule.lr_base_size
    adaptive = any(name in optimizer.opt.lower() for name in ("ada", "lamb"))
    scale = schedule.lr_base_scale or ("sqrt" if adaptive else "linear")
    return schedule.lr_base * (ratio**0.5 if scale == "sqrt" else ratio)


def create_optimizer(model: nn.Module, options: OptimizerOptions, lr: float) -> torch.optim.Optimizer:
    """timm's optimizer by name.

    Raises:
        UserError: an unknown name, or arguments that the optimizer does not take.
    """
    arguments = {
        "eps": options.opt_eps,
        "betas": options.opt_betas,
        "layer_decay": options.layer_decay,
        "layer_decay_no_opt_scale": options.layer_decay_no_opt_scale,
    }
    arguments = {name: value for name, value in arguments.items() if value is not None}
    if options.layer_decay is not None:
        arguments["layer_decay_min_scale"] = options.layer_decay_min_scale
    name = options.opt.lower().split("_")[-1]
    if name not in list_optimizers():
        raise UserError(f"unknown optimizer '{options.opt}': {close_names(name, list_optimizers())}")
    try:
        return create_optimizer_v2(
            model,
            opt=options.opt,
            lr=lr,
            weight_decay=options.weight_decay,
            momentum=options.momentum,
            **arguments,
            **options.opt_kwargs,
        )
    except (TypeError, ValueError, AssertionError, RuntimeError) as error:
        raise UserError(f"--opt {options.opt}: {' '.join(str(error).split())}") from None


class Schedule:
    """The learning rate as a function of (epoch, update).

    Args:
        scheduler: timm's, or None for a constant rate.
        on_updates: the rate changes at every update, not at every epoch.
        updates_per_epoch: optimizer steps in an epoch.
    """

    def __init__(self, scheduler: Scheduler | None, on_updates: bool, updates_per_epoch: int):
        self.scheduler, self.on_updates, self.updates_per_epoch = scheduler, on_updates, updates_per_epoch

    def set(self, epoch: int, update: int) -> None:
        """Set the rate of an update, `update` counted from 0 in its epoch."""
        if self.scheduler is None:
            return
        if self.on_updates:
            self.scheduler.step_update(epoch * self.updates_per_epoch + update)
        else:
            self.scheduler.step(epoch)


def create_schedule(
    optimizer: torch.optim.Optimizer, options: ScheduleOptions, updates_per_epoch: int, seed: int
) -> tuple[Schedule, int]:
    """timm's schedule by name, and the number of epochs that it runs for (cycles and cool-down included).

    Raises:
        UserError: an unknown name, or values that do not fit together.
    """
    if options.epochs < 1:
        raise UserError(f"--epochs {options.epochs}: at least 1")
    if options.sched not in SCHEDULES:
        raise UserError(f"unknown schedule '{options.sched}': {close_names(options.sched, SCHEDULES)}")
    try:
        scheduler, epochs = create_scheduler_v2(
            optimizer,
            sched=options.sched,
            num_epochs=options.epochs,
            decay_epochs=options.decay_epochs,
            decay_milestones=list(options.decay_milestones),
            cooldown_epochs=options.cooldown_epochs,
            decay_rate=options.decay_rate,
            min_lr=options.min_lr,
            warmup_lr=options.warmup_lr,
            warmup_epochs=options.warmup_epochs,
            warmup_prefix=options.warmup_prefix,
            noise=list(options.lr_noise) if options.lr_noise else None,
            noise_pct=options.lr_noise_pct,
            noise_std=options.lr_noise_std,
            noise_seed=seed,
            cycle_mul=options.lr_cycle_mul,
            cycle_decay=options.lr_cycle_decay,
            cycle_limit=options.lr_cycle_limit,
            k_decay=options.lr_k_decay,
            decay_fn=options.lr_decay_fn,
            stable_timescale=options.lr_stable_timescale,
            step_on_epochs=not options.sched_on_updates,
            updates_per_epoch=updates_per_epoch,
        )
    except (AssertionError, ValueError, TypeError) as error:
        raise UserError(f"--sched {options.sched}: {' '.join(str(error).split())}") from None
    return Schedule(scheduler, options.sched_on_updates, updates_per_epoch), epochs
