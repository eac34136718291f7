"""Our loop against a plain loop over timm's own calls: the same losses, gradients, rates and weights over 20 updates.

Both see the batches that our loader makes, so that order and augmentation are equal; Mixup and CutMix are timm's, on
the plain side called by the test itself. On our side it is the training loop that runs, with its optimizer and
schedule as Accelerate prepares them.
"""

import copy
from dataclasses import dataclass, field
from typing import Any

import pytest
import torch
from timm.data import Mixup
from timm.optim import create_optimizer_v2
from timm.scheduler import create_scheduler_v2
from timm.task import ClassificationTask
from timm.utils import dispatch_clip_grad

from sosr_timm.data.order.seeding import MIXING, seed_cpu
from sosr_timm.kernels.dispatch import use_kernel
from sosr_timm.training.loop import train_update
from tests.training.harness import SMALL, build_here

UPDATES = 20
VIT = (
    *("--model", "vit_tiny_patch16_224"),
    *("--model-kwargs", "img_size=8", "patch_size=2", "depth=2", "embed_dim=24", "num_heads=3"),
)


@dataclass
class Case:
    """A run by our flags, and the same by arguments of timm's functions."""

    flags: list[str]
    optimizer: dict[str, Any]
    scheduler: dict[str, Any] = field(default_factory=dict)
    loss: dict[str, Any] = field(default_factory=lambda: {"smoothing": 0.1})
    mixup: dict[str, Any] = field(default_factory=dict)
    average: dict[str, Any] = field(default_factory=dict)
    accumulation: int = 1
    agc: float | None = None
    epochs: int = 3


CASES = {
    "sgd and cosine": Case(
        ["--opt", "sgd", "--lr", "0.05", "--weight-decay", "1e-3"],
        {"opt": "sgd", "lr": 0.05, "weight_decay": 1e-3, "momentum": 0.9},
    ),
    "adamw, warm-up, layer decay": Case(
        [
            *(*VIT, "--opt", "adamw", "--lr", "0.003", "--layer-decay", "0.7", "--weight-decay", "0.05"),
            *("--warmup-epochs", "1", "--sched-on-updates"),
        ],
        {"opt": "adamw", "lr": 0.003, "weight_decay": 0.05, "layer_decay": 0.7},
        {"warmup_epochs": 1, "warmup_lr": 1e-5, "step_on_epochs": False},
    ),
    "lamb, bce, Mixup and CutMix": Case(
        [
            *(*VIT, "--opt", "lamb", "--lr", "0.01", "--bce-loss", "--mixup", "0.4", "--cutmix", "1.0"),
            *("--smoothing", "0.1", "--bce-target-thresh", "0.2", "--weight-decay", "0.02"),
        ],
        {"opt": "lamb", "lr": 0.01, "weight_decay": 0.02},
        loss={"loss_type": "bce", "bce_target_thresh": 0.2, "soft_targets": True},
        mixup={"mixup_alpha": 0.4, "cutmix_alpha": 1.0, "label_smoothing": 0.1, "num_classes": 10},
    ),
    "EMA with warm-up": Case(
        ["--opt", "sgd", "--lr", "0.05", "--model-ema", "--model-ema-decay", "0.95", "--model-ema-warmup"],
        {"opt": "sgd", "lr": 0.05, "weight_decay": 2e-5, "momentum": 0.9},
        average={"decay": 0.95, "use_warmup": True},
    ),
    "accumulation of 3 with a ragged end": Case(
        [*VIT, "--opt", "momentum", "--lr", "0.05", "--grad-accum-steps", "3", "--epochs", "7", "--sched-on-updates"],
        {"opt": "momentum", "lr": 0.05, "weight_decay": 2e-5, "momentum": 0.9},
        {"step_on_epochs": False},
        accumulation=3,
        epochs=7,
    ),
    "adaptive gradient clipping": Case(
        ["--opt", "sgd", "--lr", "0.1", "--clip-grad", "0.01", "--clip-mode", "agc"],
        {"opt": "sgd", "lr": 0.1, "weight_decay": 2e-5, "momentum": 0.9},
        agc=0.01,
    ),
}


@dataclass
class Course:
    """What a loop went through: loss and learning rates of each update, gradients of the first and the last.

    Attributes:
        length: updates to make.
    """

    length: int

    losses: list[float] = field(default_factory=list)
    rates: list[list[float]] = field(default_factory=list)
    gradients: list[list[torch.Tensor]] = field(default_factory=list)

    def note(self, loss: float, optimizer: torch.optim.Optimizer, model: torch.nn.Module) -> None:
        self.losses.append(loss)
        self.rates.append([group["lr"] for group in optimizer.param_groups])
        if len(self.losses) in (1, self.length):
            self.gradients.append([parameter.grad.clone() for parameter in model.parameters()])


def ours(run, length: int) -> Course:
    """The updates by our loop."""
    course, batches, step = Course(length), run.batches(), run.optimizer.step

    def noting_step() -> None:
        loss = float(run.meters.interval[0]) / run.meters.interval_count
        run.meters.interval.zero_()
        run.meters.interval_count = 0
        course.note(loss, run.optimizer, run.model)
        step()

    run.optimizer.step = noting_step
    run.task.train()
    for _ in range(length):
        run.schedule.set(run.progress.epoch, run.progress.update)
        train_update(run, batches)
        run.progress.update += 1
        if run.progress.update == run.updates_per_epoch:
            run.progress.epoch, run.progress.update = run.progress.epoch + 1, 0
    return course


def plain(case: Case, task: ClassificationTask, batches, per_epoch: int, seed: int, length: int) -> Course:
    """The updates by timm's calls, in the order of timm's training script."""
    course, model = Course(length), task.trainable_module
    updates_per_epoch = -(-per_epoch // case.accumulation)
    optimizer = create_optimizer_v2(model, **case.optimizer)
    scheduler, _ = create_scheduler_v2(
        optimizer, num_epochs=case.epochs, updates_per_epoch=updates_per_epoch, **case.scheduler
    )
    mixup = Mixup(**case.mixup) if case.mixup else None
    updates, epoch = 0, 0
    while True:
        task.train()
        optimizer.zero_grad()
        whole = per_epoch // case.accumulation * case.accumulation
        losses: list[torch.Tensor] = []
        for position in range(per_epoch):
            batch = next(batches)
            images, target = batch.images, batch.target
            if mixup is not None:
                seed_cpu(seed, MIXING, epoch, position, 0)
                images, target = mixup(images, target)
            group = case.accumulation if position < whole else per_epoch - whole
            loss = task(images, target)["loss"]
            (loss / group).backward()
            losses.append(loss.detach().double())
            if len(losses) < group:
                continue
            if case.agc is not None:
                dispatch_clip_grad(task.get_clip_parameters(exclude_head=True), value=case.agc, mode="agc")
            course.note(float(sum(losses)) / group, optimizer, model)
            optimizer.step()
            optimizer.zero_grad()
            losses, updates = [], updates + 1
            task.update_ema(step=updates)
            scheduler.step_update(num_updates=updates)
            if updates == length:
                return course
        epoch += 1
        scheduler.step(epoch)


def difference(ours: torch.Tensor, theirs: torch.Tensor) -> float:
    """Largest difference of two tensors over the largest value of the second."""
    scale = float(theirs.detach().abs().max())
    return float((ours - theirs).detach().abs().max()) / scale if scale else float(ours.detach().abs().max())


def both(case: Case, length: int, tmp_path):
    """(run, course) of ours and (task, course) of timm's, from the same weights."""
    flags = ["--loader", "workers", "--epochs", str(case.epochs), *case.flags]
    run = build_here(tmp_path / "ours", *SMALL, *flags)
    source = build_here(tmp_path / "timm", *SMALL, *flags, "--mixup", "0", "--cutmix", "0")
    task = ClassificationTask(copy.deepcopy(run.model), criterion_kwargs=case.loss, verbose=False)
    if case.average:
        task.setup_ema(**case.average)
    found = ours(run, length)
    expected = plain(case, task, source.batches(), run.order.batches_per_epoch, run.options.run.seed, length)
    assert len(found.losses) == len(expected.losses) == length
    assert found.rates == expected.rates
    return (run, found), (task, expected)


@pytest.mark.parametrize("name", CASES)
def test_twenty_updates_are_those_of_timms_own_calls(name, tmp_path):
    """With the readable formula as the loss nothing differs: the largest relative difference measured is 0."""
    with use_kernel("plain"):
        (run, found), (task, expected) = both(CASES[name], UPDATES, tmp_path)
    worst = {"loss": max(abs(a - b) / abs(b) for a, b in zip(found.losses, expected.losses, strict=True))}
    assert len(expected.gradients) == 2
    for place, mine, theirs in zip(("first", "last"), found.gradients, expected.gradients, strict=True):
        worst[f"{place} gradient"] = max(difference(a, b) for a, b in zip(mine, theirs, strict=True))
    pairs = {"weights": (run.model, task.trainable_module)}
    if CASES[name].average:
        pairs["average"] = run.ema, task.trainable_module_ema.module
    for title, (mine, theirs) in pairs.items():
        tensors = zip(mine.state_dict().values(), theirs.state_dict().values(), strict=True)
        worst[title] = max(difference(a.double(), b.double()) for a, b in tensors)
    assert worst == dict.fromkeys(worst, 0.0), worst
    assert len(set(found.losses)) == UPDATES, "nothing was learned: the test would show nothing"


@pytest.mark.parametrize("name", [name for name, case in CASES.items() if "loss_type" not in case.loss])
def test_the_row_kernels_gradient_is_that_of_timms_loss_to_rounding(name, tmp_path):
    """One update, because a small batch norm network carries a rounding on to a tenth of its loss in twenty.

    Measured: at most 1.2e-6 of the largest entry of a gradient, ten times the spacing of float32.
    """
    with use_kernel("cpu"):
        (_, found), (_, expected) = both(CASES[name], 1, tmp_path)
    assert found.losses[0] == pytest.approx(expected.losses[0], rel=5e-7)
    entries = zip(found.gradients[0], expected.gradients[0], strict=True)
    # A bias in front of a normalisation has a gradient of rounding alone.
    assert max(difference(a, b) for a, b in entries if b.abs().max() > 1e-7) < 5e-6
