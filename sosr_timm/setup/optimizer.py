"""The optimizer of a run, timm's, and the learning rate that its schedule starts from."""

from __future__ import annotations

import torch
from timm.optim import create_optimizer_v2, get_optimizer_info, list_optimizers
from torch import nn

from sosr_timm.errors import UserError, one_line
from sosr_timm.options.train import OptimizerOptions, ScheduleOptions
from sosr_timm.registry import close_names


def learning_rate(optimizer: OptimizerOptions, schedule: ScheduleOptions, processes: int) -> float:
    """--lr; where it is not given or 0, --lr-base scaled by the samples of one update, as in timm.

    The scale is linear, for Adam's relatives the square root.
    """
    if schedule.lr:
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
    check_optimizer(options)
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
    except (TypeError, ValueError, AssertionError, RuntimeError, LookupError, ArithmeticError, AttributeError) as error:
        raise UserError(f"--opt {options.opt}: {one_line(error)}") from None


def check_optimizer(options: OptimizerOptions) -> None:
    """Refuse an unknown optimizer, and arguments that timm would leave out of its constructor.

    Raises:
        UserError: which argument, and what the optimizer takes.
    """
    prefix, _, name = options.opt.lower().rpartition("_")
    if name not in list_optimizers() or prefix not in ("", "lookahead"):
        known = [*list_optimizers(), *(f"lookahead_{other}" for other in list_optimizers() if prefix)]
        near = close_names(options.opt.lower(), known)
        raise UserError(f"unknown optimizer '{options.opt}': {near}")
    info = get_optimizer_info(name)
    if info.second_order:
        raise UserError(f"--opt {options.opt} needs second derivatives, which are not computed here")
    if options.opt_eps is not None and not info.has_eps:
        raise UserError(f"--opt-eps {options.opt_eps:g} has no effect: --opt {name} has no epsilon")
    betas = options.opt_betas
    if betas is not None and not info.has_betas:
        raise UserError(f"--opt-betas {_written(betas)} has no effect: --opt {name} has no betas")
    if betas is not None and len(betas) != info.num_betas:
        raise UserError(f"--opt-betas {_written(betas)}: --opt {name} has {info.num_betas} betas")


def _written(numbers: tuple[float, ...]) -> str:
    return " ".join(f"{number:g}" for number in numbers)
