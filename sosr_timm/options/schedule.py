"""The options of train.py that say how long to train and how the learning rate changes."""

from __future__ import annotations

from dataclasses import dataclass

from sosr_timm.options.fields import THIS_START, flag
from sosr_timm.options.ranges import AT_LEAST_ONE, MOST_EPOCHS, NOT_NEGATIVE, POSITIVE, PROBABILITY, Items, Range

SCHEDULES = ("cosine", "tanh", "step", "multistep", "poly", "wsd", "rsqrt", "constant", "plateau", "none")
DECAY_SHAPES = ("linear", "1-sqrt", "cosine", "power", "exp")


@dataclass
class ScheduleOptions:
    epochs: int = flag(300, "epochs to train", allowed=Range(1, MOST_EPOCHS))
    stop_epoch: int | None = flag(
        None, "stop after this many epochs without changing the schedule", scope=THIS_START, allowed=AT_LEAST_ONE
    )
    start_epoch: int | None = flag(
        None, "number of the first epoch of a new run; the schedule starts there too", allowed=NOT_NEGATIVE
    )
    sched: str = flag("cosine", "schedule of timm", choices=SCHEDULES)
    sched_on_updates: bool = flag(False, "change the learning rate at every update instead of every epoch")
    lr: float | None = flag(None, "learning rate; overrides lr-base unless it is 0", allowed=NOT_NEGATIVE)
    lr_base: float = flag(0.1, "learning rate at lr-base-size samples per update", allowed=NOT_NEGATIVE)
    lr_base_size: int = flag(256, "samples per update that lr-base is meant for", allowed=AT_LEAST_ONE)
    lr_base_scale: str = flag(
        "", "scale of lr-base with the batch; by the optimizer where empty", choices=("", "linear", "sqrt")
    )
    lr_noise: tuple[float, ...] | None = flag(
        None,
        "start and end of learning-rate noise, as shares of the schedule",
        allowed=PROBABILITY,
        items=Items(most=2, rising=True),
    )
    lr_noise_pct: float = flag(0.67, "largest relative learning-rate noise", allowed=Range(above=0, most=1))
    lr_noise_std: float = flag(1.0, "standard deviation of learning-rate noise", allowed=POSITIVE)
    lr_cycle_mul: float = flag(1.0, "length factor from cycle to cycle", allowed=Range(above=0, most=100))
    lr_cycle_decay: float = flag(0.5, "learning-rate factor from cycle to cycle", allowed=NOT_NEGATIVE)
    lr_cycle_limit: int = flag(1, "number of cycles", allowed=Range(1, 10_000))
    lr_k_decay: float = flag(1.0, "k of k-decay (cosine, poly)", allowed=Range(above=0, most=10))
    lr_decay_fn: str | None = flag(None, "shape of the decay phase (wsd, rsqrt)", choices=DECAY_SHAPES)
    lr_stable_timescale: float | None = flag(None, "time scale of the stable phase in epochs (rsqrt)", allowed=POSITIVE)
    warmup_lr: float = flag(1e-5, "learning rate at the start of warm-up", allowed=NOT_NEGATIVE)
    min_lr: float = flag(0.0, "lower bound of the learning rate", allowed=NOT_NEGATIVE)
    decay_milestones: tuple[int, ...] = flag(
        (90, 180, 270),
        "epochs at which the learning rate is reduced (multistep)",
        allowed=NOT_NEGATIVE,
        items=Items(rising=True),
    )
    decay_epochs: float = flag(
        90, "epochs between reductions (step), length of the decay phase (wsd)", allowed=POSITIVE
    )
    warmup_epochs: int = flag(5, "epochs of warm-up", allowed=Range(0, MOST_EPOCHS), null=0)
    warmup_prefix: bool = flag(False, "do not count warm-up as part of the schedule")
    cooldown_epochs: int = flag(
        0, "epochs at the lowest learning rate after the schedule", allowed=Range(0, MOST_EPOCHS)
    )
    patience_epochs: int = flag(
        10, "epochs without a better metric before the learning rate is reduced (plateau)", allowed=NOT_NEGATIVE
    )
    decay_rate: float = flag(0.1, "factor of a reduction of the learning rate", also=("--dr",), allowed=Range(0, 10))
