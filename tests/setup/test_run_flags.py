"""timm's flags of the model, the schedule, the start and the trackers do what they say."""

import json
import math

import pytest
import torch
from timm.layers import fast_norm
from timm.scheduler import create_scheduler_v2

from sosr_timm.checkpoints.format import checkpoint_folders
from sosr_timm.data.sources.source import SourceInfo
from sosr_timm.distributed.processes import start_processes
from sosr_timm.errors import UserError
from sosr_timm.options.load import load
from sosr_timm.options.train import TrainOptions
from sosr_timm.setup.model import create_model
from sosr_timm.setup.schedule import create_schedule
from sosr_timm.tracking.trackers import trackers_of
from tests.training.harness import (
    SMALL,
    assert_same_run,
    build_here,
    copy_until,
    only_run,
    read_lines_of,
    tensors_of,
    train_here,
)


def options_of(*arguments):
    return load(TrainOptions, [str(argument) for argument in arguments]).options


@pytest.mark.parametrize("dtype", ["bfloat16", "float16"])
def test_weights_of_another_type_train_and_keep_a_float32_average(dtype, tmp_path):
    arguments = ["--model-dtype", dtype, "--model-ema", "--loss", "ols+sosr", "--lr", "0.01", "--epochs", "1"]
    assert train_here(*SMALL, *arguments, "--output", tmp_path) == 0
    run = only_run(tmp_path)
    types = {name: tensor.dtype for name, tensor in tensors_of(checkpoint_folders(run.checkpoints)[0]).items()}
    assert types["model.safetensors:conv1.weight"] == getattr(torch, dtype)
    assert types["ema.safetensors:conv1.weight"] == torch.float32
    (epoch,) = [line for line in read_lines_of(run) if line["kind"] == "epoch"]
    assert math.isfinite(epoch["train_loss"]) and math.isfinite(epoch["eval_loss_ema"])


def test_half_precision_weights_and_mixed_precision_exclude_each_other(tmp_path):
    with pytest.raises(UserError, match="--amp keeps weights in float32"):
        build_here(tmp_path, *SMALL, "--model-dtype", "bfloat16", "--amp", "--amp-dtype", "bfloat16")


def test_fast_norm_is_switched_on_and_off_again(tmp_path):
    for arguments, expected in ((["--fast-norm"], True), ([], False)):
        build_here(tmp_path / str(expected), *SMALL, *arguments)
        assert fast_norm.is_fast_norm() is expected


def test_drop_connect_is_drop_path():
    info = SourceInfo(num_classes=10)
    arguments = ("--model", "resnet10t", "--drop-connect", "0.3")
    model = create_model(options_of(*arguments).model, info)
    assert model.layer4[0].drop_path.drop_prob == pytest.approx(0.3)
    with pytest.raises(UserError, match="older name of --drop-path"):
        create_model(options_of(*arguments, "--drop-path", "0.1").model, info)


def test_the_device_is_the_one_asked_for(tmp_path):
    assert build_here(tmp_path, *SMALL, "--device", "cpu").processes.device.type == "cpu"
    for name in ("nosuch", "xpu"):
        with pytest.raises(UserError, match=f"--device {name}: "):
            start_processes(device=name)


def rates_of_plateau(figures, **arguments):
    """The rates of timm's own schedule, driven as timm drives it: once after each epoch."""
    optimizer = torch.optim.SGD([torch.zeros(1, requires_grad=True)], lr=1.0)
    with pytest.warns(FutureWarning, match="deprecated"):
        scheduler, _ = create_scheduler_v2(optimizer, sched="plateau", **arguments)
    rates = []
    for epoch, figure in enumerate(figures):
        rates.append(optimizer.param_groups[0]["lr"])
        scheduler.step(epoch + 1, figure)
    return rates


@pytest.mark.parametrize("noise", [None, (0.3, 0.9)])
def test_plateau_gives_timms_rates_also_from_a_state(noise):
    figures = [0.1, 0.5, 0.5, 0.4, 0.4, None, 0.3, 0.6, 0.5, 0.5, 0.5, 0.5]
    theirs = rates_of_plateau(
        figures, num_epochs=12, patience_epochs=1, warmup_epochs=2, warmup_lr=0.1, noise=noise, noise_seed=3
    )
    assert min(theirs[3:]) < 0.2, "the rate never fell: the test would show nothing"
    arguments = ["--sched", "plateau", "--patience-epochs", "1", "--warmup-epochs", "2", "--warmup-lr", "0.1"]
    arguments += ["--epochs", "12", *(["--lr-noise", *map(str, noise)] if noise else [])]

    def make():
        optimizer = torch.optim.SGD([torch.zeros(1, requires_grad=True)], lr=1.0)
        return optimizer, create_schedule(optimizer, options_of(*arguments).schedule, 5, seed=3)[0]

    optimizer, schedule = make()
    rates = []
    for epoch, figure in enumerate(figures):
        schedule.set(epoch, 0)
        rates.append(optimizer.param_groups[0]["lr"])
        schedule.start_epoch(epoch + 1, figure)
        state = json.loads(json.dumps(schedule.state_dict()))
        optimizer, schedule = make()
        schedule.load_state_dict(state)
    assert rates == theirs


def test_a_resumed_plateau_run_equals_the_straight_one(tmp_path):
    arguments = [*SMALL, "--sched", "plateau", "--patience-epochs", "0", "--epochs", "3"]
    arguments += ["--model-ema", "--model-ema-decay", "0.9", "--model-ema-warmup", "--loss", "ols", "--lr", "1e-5"]
    arguments += ["--checkpoint-every", "3", "--checkpoint-hist", "100"]
    assert train_here(*arguments, "--output", tmp_path / "straight") == 0
    straight = only_run(tmp_path / "straight")
    rates = {line["lr"] for line in read_lines_of(straight) if line["kind"] == "train"}
    assert len(rates) > 1, "the rate never fell: the test would show nothing"
    name = sorted(path.name for path in checkpoint_folders(straight.checkpoints))[-2]
    copy = copy_until(straight, name, tmp_path / "copy")
    assert train_here(*arguments, "--output", tmp_path / "copy", "--resume", "auto") == 0
    assert_same_run(straight, copy)


def test_a_run_that_starts_at_an_epoch_follows_the_schedule_from_there(tmp_path):
    arguments = [*SMALL, "--epochs", "3", "--log-interval", "1"]
    assert train_here(*arguments, "--output", tmp_path / "whole") == 0
    assert train_here(*arguments, "--start-epoch", "1", "--output", tmp_path / "late") == 0
    lines = [read_lines_of(only_run(tmp_path / name)) for name in ("whole", "late")]
    rates = [[(line["step"], line["lr"]) for line in part if line["kind"] == "train"] for part in lines]
    assert rates[1] == rates[0][7:] and len(rates[1]) == 14
    with pytest.raises(UserError, match="--start-epoch 3: the run has the epochs 0 to 2"):
        build_here(tmp_path, *arguments, "--start-epoch", "3")


def test_resuming_without_the_optimizer_takes_weights_and_place_only(tmp_path):
    arguments = [*SMALL, "--opt", "adamw", "--lr", "0.01", "--output", tmp_path]
    assert train_here(*arguments, "--stop-epoch", "1") == 0
    first = tensors_of(checkpoint_folders(only_run(tmp_path).checkpoints)[0])
    assert any(name.startswith("run.safetensors:optimizer") for name in first)
    assert train_here(*arguments, "--resume", "auto", "--no-resume-opt") == 0
    content = json.loads((checkpoint_folders(only_run(tmp_path).checkpoints)[0] / "run.json").read_text())
    steps = tensors_of(checkpoint_folders(only_run(tmp_path).checkpoints)[0])
    steps = {float(tensor) for name, tensor in steps.items() if name.endswith(".step")}
    assert steps == {7.0}, "the optimizer has counted the seven updates after the start only"
    assert content["progress"]["epoch"] == 2


def test_recovery_interval_is_checkpoint_every(tmp_path):
    assert build_here(tmp_path, *SMALL, "--recovery-interval", "3").stop_signals.updates == 3
    with pytest.raises(UserError, match="mean the same"):
        build_here(tmp_path, *SMALL, "--recovery-interval", "3", "--checkpoint-every", "3")


def test_each_update_can_wait_for_the_device(tmp_path, monkeypatch):
    run = build_here(tmp_path, *SMALL, "--synchronize-step")
    waits = []
    monkeypatch.setattr(torch.accelerator, "synchronize", lambda: waits.append(run.step))
    from sosr_timm.training.loop import wait_for_device

    wait_for_device(torch.device("cpu"))
    assert waits == []
    wait_for_device(torch.device("cuda"))
    assert waits == [0]


def test_flags_of_wandb_ask_for_wandb():
    run = options_of("--log-wandb", "--wandb-tags", "a", "b", "--log-with", "tensorboard").run
    assert trackers_of(run) == ("tensorboard", "wandb")
    for flags in (["--wandb-project", "p"], ["--wandb-tags", "a"], ["--wandb-resume-id", "x"]):
        with pytest.raises(UserError, match=f"{flags[0]} has no effect without --log-wandb"):
            trackers_of(options_of(*flags).run)


def test_wandb_gets_project_tags_and_identity(tmp_path, monkeypatch):
    wandb = pytest.importorskip("wandb")
    monkeypatch.setenv("WANDB_MODE", "offline")
    seen = {}
    start = wandb.init
    monkeypatch.setattr(wandb, "init", lambda **given: seen.update(given) or start(**{**given, "resume": None}))
    arguments = ["--log-wandb", "--wandb-project", "p", "--wandb-tags", "a", "b", "--wandb-resume-id", "run7"]
    assert train_here(*SMALL, *arguments, "--epochs", "1", "--output", tmp_path) == 0
    expected = {"project": "p", "tags": ["a", "b"], "id": "run7", "resume": "must"}
    assert {name: seen[name] for name in expected} == expected
