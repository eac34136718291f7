"""The learning rate of a run: timm's schedules, a pure function of the update but for plateau, which has a state."""

from __future__ import annotations

import math
import warnings
from typing import Any

import torch
from timm.scheduler import PlateauLRScheduler, create_scheduler_v2
from timm.scheduler.scheduler import Scheduler

from sosr_timm.errors import UserError, one_line
from sosr_timm.options.ranges import MOST_EPOCHS
from sosr_timm.options.schedule import ScheduleOptions

WITHOUT_LOWER_BOUND = ("step", "multistep", "constant", "none")
SAMPLED = 200  # epochs whose learning rate is tried before a run
PLATEAU_STATE = ("best", "num_bad_epochs", "cooldown_counter", "last_epoch")


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

    def start_epoch(self, epoch: int, value: float | None) -> None:
        """Begin an epoch after an evaluation with this value of the metric, or None; only plateau needs it."""

    def state_dict(self) -> dict[str, Any]:
        return {}

    def load_state_dict(self, state: dict[str, Any]) -> None:
        """Restore nothing: the rate is a function of the update."""


class PlateauSchedule(Schedule):
    """timm's plateau: after warm-up the rate falls where the metric has stopped improving.

    Args:
        scheduler: timm's.
    """

    scheduler: PlateauLRScheduler

    def __init__(self, scheduler: PlateauLRScheduler):
        super().__init__(scheduler, on_updates=False, updates_per_epoch=1)

    def set(self, epoch: int, update: int) -> None:
        """The rate changes between epochs only."""

    def start_epoch(self, epoch: int, value: float | None) -> None:
        self.scheduler.step(epoch, value)

    def state_dict(self) -> dict[str, Any]:
        """What timm's own state leaves out too: bad epochs so far, rates, the rates without noise."""
        inner = self.scheduler.lr_scheduler
        return {
            "plateau": {name: getattr(inner, name) for name in PLATEAU_STATE},
            "rates": [group["lr"] for group in self.scheduler.optimizer.param_groups],
            "without_noise": self.scheduler.restore_lr,
        }

    def load_state_dict(self, state: dict[str, Any]) -> None:
        for name in PLATEAU_STATE:
            setattr(self.scheduler.lr_scheduler, name, state["plateau"][name])
        for group, rate in zip(self.scheduler.optimizer.param_groups, state["rates"], strict=True):
            group["lr"] = rate
        self.scheduler.restore_lr = state["without_noise"]


def create_schedule(
    optimizer: torch.optim.Optimizer,
    options: ScheduleOptions,
    updates_per_epoch: int,
    seed: int,
    smaller_is_better: bool = False,
) -> tuple[Schedule, int]:
    """timm's schedule by name, and the number of epochs that it runs for (cycles and cool-down included).

    Args:
        optimizer: whose rates are set.
        options: of the schedule.
        updates_per_epoch: optimizer steps in an epoch.
        seed: of the noise.
        smaller_is_better: of the metric that plateau follows.

    Raises:
        UserError: an unknown name, or values that contradict each other.
    """
    try:
        with warnings.catch_warnings():
            # timm warns that plateau's state is not in its checkpoints; it is in ours.
            warnings.simplefilter("ignore", FutureWarning)
            scheduler, epochs = create_scheduler_v2(
                optimizer,
                sched=options.sched,
                num_epochs=options.epochs,
                decay_epochs=options.decay_epochs,
                decay_milestones=list(options.decay_milestones),
                cooldown_epochs=options.cooldown_epochs,
                patience_epochs=options.patience_epochs,
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
                plateau_mode="min" if smaller_is_better else "max",
                step_on_epochs=not options.sched_on_updates,
                updates_per_epoch=updates_per_epoch,
            )
    except ArithmeticError:
        raise UserError(f"--sched {options.sched}: the cycles are longer than any number of epochs") from None
    except (AssertionError, ValueError, TypeError) as error:
        raise UserError(f"--sched {options.sched}: {one_line(error)}") from None
    if epochs > MOST_EPOCHS:
        raise UserError(f"--sched {options.sched}: {epochs:,} epochs with all cycles; at most {MOST_EPOCHS:,}")
    _check_start(options, epochs)
    if isinstance(scheduler, PlateauLRScheduler):
        schedule = PlateauSchedule(scheduler)
        if options.start_epoch:
            schedule.start_epoch(options.start_epoch, None)
        return schedule, epochs
    return Schedule(scheduler, options.sched_on_updates, updates_per_epoch), epochs


def check_rates(schedule: Schedule, optimizer: torch.optim.Optimizer, options: ScheduleOptions, epochs: int) -> None:
    """Refuse a schedule that no training can follow; its rates are those of its start afterwards.

    Args:
        schedule: of the run.
        optimizer: whose rates it sets.
        options: of the schedule.
        epochs: that it runs for.

    Raises:
        UserError: a lower bound above the learning rate, or a rate that is negative or not finite.
    """
    highest = max(group.get("initial_lr", group["lr"]) for group in optimizer.param_groups)
    if options.min_lr > highest > 0 and options.sched not in WITHOUT_LOWER_BOUND:
        raise UserError(f"--min-lr {options.min_lr:g} is above the learning rate, {highest:g}")
    if isinstance(schedule, PlateauSchedule):
        return
    before = [group["lr"] for group in optimizer.param_groups]
    for epoch in sorted({position * (epochs - 1) // SAMPLED for position in range(SAMPLED + 1)}):
        try:
            schedule.set(epoch, 0)
        except (ValueError, ArithmeticError) as error:
            raise UserError(f"--sched {options.sched} has no rate in epoch {epoch + 1} ({error.args[-1]})") from None
        rates = [group["lr"] for group in optimizer.param_groups]
        if not all(math.isfinite(rate) and rate >= 0 for rate in rates):
            raise UserError(f"--sched {options.sched}: the learning rate of epoch {epoch + 1} would be {min(rates):g}")
    for group, rate in zip(optimizer.param_groups, before, strict=True):
        group["lr"] = rate


def _check_start(options: ScheduleOptions, epochs: int) -> None:
    if options.start_epoch is not None and not 0 <= options.start_epoch < epochs:
        raise UserError(f"--start-epoch {options.start_epoch}: the run has the epochs 0 to {epochs - 1}")
