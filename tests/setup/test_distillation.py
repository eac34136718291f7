"""Distillation: loss and gradients of timm's own tasks to the bit, with any loss of ours, and exact resuming."""

import pytest
import timm
import torch
from timm.models import save_for_hf
from timm.task import FeatureDistillationTask, LogitDistillationTask, TokenDistillationTask

from sosr_timm.checkpoints.format import checkpoint_folders
from sosr_timm.errors import UserError
from sosr_timm.losses import create_loss
from sosr_timm.training.loop import train_update
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

TINY = ("depth=2", "num_heads=3", "img_size=8", "patch_size=2")
VIT = ("--model", "vit_tiny_patch16_224", "--model-kwargs", *TINY, "embed_dim=24")
DEIT = ("--model", "deit_tiny_distilled_patch16_224", "--model-kwargs", *TINY, "embed_dim=24")
FEATURE = (*VIT, "--kd-distill-type", "feature")
CASES = {
    "logit": ([*VIT], LogitDistillationTask, {"temperature": 4.0}),
    "logit, weighted": (
        [*VIT, "--kd-temperature", "2", "--task-loss-weight", "0.3"],
        LogitDistillationTask,
        {"temperature": 2.0, "task_loss_weight": 0.3},
    ),
    "feature": ([*FEATURE, "--distill-loss-weight", "5"], FeatureDistillationTask, {"distill_loss_weight": 5.0}),
    "token": ([*DEIT, "--kd-distill-type", "token"], TokenDistillationTask, {"temperature": 4.0}),
    "token, hard": (
        [*DEIT, "--kd-distill-type", "token", "--kd-token-distill-type", "hard"],
        TokenDistillationTask,
        {"distill_type": "hard", "temperature": 4.0},
    ),
}
LOSSES = {"logit": "ols+sosr+cp", "logit, weighted": "maxsup", "feature": "sosr", "token": "ols", "token, hard": "cp"}


@pytest.fixture(scope="module")
def teacher(tmp_path_factory):
    """The folder of a run of another network on the same data."""
    output = tmp_path_factory.mktemp("teacher")
    arguments = ["--model", "resnet10t", "--model-kwargs", "channels=(8,8,16,16)", "stem_width=8", "--epochs", "1"]
    assert train_here(*SMALL, *arguments, "--output", output) == 0
    return only_run(output).path


@pytest.mark.parametrize("case", CASES)
def test_the_loss_and_gradients_are_those_of_timms_task(case, teacher, tmp_path):
    flags, kind, arguments = CASES[case]
    run = build_here(tmp_path, *SMALL, *flags, "--kd-model-name", teacher, "--loss", LOSSES[case])
    assert type(run.task) is kind
    loss = create_loss(LOSSES[case], num_classes=10)
    theirs = kind(run.model, run.task.teacher.model, criterion=loss, verbose=False, **arguments)
    theirs.trainable_module.load_state_dict(run.trained.state_dict())
    batch = next(run.batches())
    found = {}
    for name, task, module in (("ours", run.task, run.trained), ("timm", theirs, theirs.trainable_module)):
        task.train()
        assert not task.teacher.training
        torch.manual_seed(0)
        result = task(batch.images, batch.target)
        module.zero_grad()
        result["loss"].backward()
        found[name] = result, [parameter.grad.clone() for parameter in module.parameters()]
    for name in ("loss", "task_loss", "kd_loss" if "token" not in case else "distill_loss"):
        assert torch.equal(found["ours"][0][name], found["timm"][0][name]), name
    assert all(torch.equal(ours, timms) for ours, timms in zip(found["ours"][1], found["timm"][1], strict=True))
    assert not torch.equal(found["ours"][0]["loss"], found["ours"][0]["task_loss"])
    if case == "logit":  # each sample of a step is counted once, by what the student says
        correct = batch.target[found["ours"][0]["output"].argmax(dim=1) == batch.target]
        assert len(correct)
        for counted in (run.loss, loss):
            assert torch.equal(counted.base.correct_count, torch.bincount(correct, minlength=10).double())


def test_the_teacher_stays_as_it_is_and_is_fed_what_it_was_trained_on(teacher, tmp_path):
    run = build_here(tmp_path, *SMALL, *VIT, "--kd-model-name", teacher, "--mean", "0.5", "--std", "0.25")
    before = {name: tensor.clone() for name, tensor in run.task.teacher.state_dict().items()}
    images = torch.rand(2, 1, 8, 8)
    fed = run.task.teacher.normalize_input((images - 0.5) / 0.25, run.task.student_mean, run.task.student_std)
    torch.testing.assert_close(fed, (images - 0.3059) / 0.3763)
    train_update(run, run.batches())
    assert all(torch.equal(tensor, before[name]) for name, tensor in run.task.teacher.state_dict().items())
    assert run.meters.names == ("loss", "ce", "task_loss", "kd_loss")


@pytest.mark.parametrize("flags", [[*FEATURE, "--layer-decay", "0.8"], [*VIT, "--grad-accum-steps", "2"]])
def test_a_resumed_run_equals_the_straight_one(flags, teacher, tmp_path):
    arguments = [*SMALL, *flags, "--kd-model-name", teacher, "--loss", "ols+sosr", "--sched", "plateau"]
    arguments += ["--patience-epochs", "0", "--model-ema", "--model-ema-decay", "0.9", "--clip-grad", "0.1"]
    arguments += ["--clip-mode", "agc", "--checkpoint-every", "2", "--checkpoint-hist", "100", "--opt", "adamw"]
    assert train_here(*arguments, "--output", tmp_path / "straight") == 0
    straight = only_run(tmp_path / "straight")
    names = sorted(path.name for path in checkpoint_folders(straight.checkpoints))
    copy = copy_until(straight, names[1], tmp_path / "copy")
    assert train_here(*arguments, "--output", tmp_path / "copy", "--resume", "auto") == 0
    assert_same_run(straight, copy)
    tensors = tensors_of(checkpoint_folders(straight.checkpoints)[0])
    assert any("projection" in name for name in tensors) == ("feature" in flags)
    assert not any("teacher" in name or "student" in name for name in tensors), "the network alone is stored"
    (line,) = [line for line in read_lines_of(straight) if line["kind"] == "epoch" and line["epoch"] == 1]
    assert line["train_loss"] == pytest.approx(line["train_task_loss"] + line["train_kd_loss"], rel=1e-6)


def published(folder, num_classes):
    """A network as timm stores one, with weights for some number of classes."""
    arguments = {"depth": 1, "embed_dim": 24, "num_heads": 3}
    model = timm.create_model("vit_tiny_patch16_224", num_classes=num_classes, **arguments)
    save_for_hf(model, folder, model_args=arguments)
    return f"local-dir:{folder}"


def test_a_teacher_by_name_whose_classifier_would_be_random_is_refused(tmp_path):
    small = ("--model-kwargs", "depth=1", "embed_dim=24", "num_heads=3")
    arguments = [*SMALL, *VIT, *small, "--img-size", "224", "--loader", "workers", "--kd-model-name"]
    with pytest.raises(UserError, match="published weights are for 7 classes and the data set has 10"):
        build_here(tmp_path / "seven", *arguments, published(tmp_path / "of_seven", 7))
    run = build_here(tmp_path / "ten", *arguments, published(tmp_path / "of_ten", 10))
    assert run.task.teacher.mean_kd.shape == (1, 1, 1, 1)


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["--task-loss-weight", "0.5"], "--task-loss-weight has no effect without a teacher"),
        (["--kd-model-name", "resnet81"], "unknown model 'resnet81'"),
        (["--kd-model-name", "TEACHER", "--kd-distill-type", "token"], "set_distilled_training"),
        (["--kd-model-name", "TEACHER", "--kd-loss-type", "mse"], "--kd-loss-type is one of 'kl', not 'mse'"),
        (["--kd-model-name", "TEACHER", "--kd-temperature", "0"], "--kd-temperature must be above 0, not 0.0"),
        (["--kd-model-name", "TEACHER", "--kd-distill-type", "feature", "--kd-teacher-feature-dim", "7"], "features"),
    ],
)
def test_what_does_not_fit_is_one_line(arguments, message, teacher, tmp_path):
    arguments = [teacher if word == "TEACHER" else word for word in arguments]
    with pytest.raises(UserError, match=message) as caught:
        build_here(tmp_path, *SMALL, *arguments)
    assert "\n" not in str(caught.value)


def test_a_teacher_that_cannot_be_downloaded_is_one_line(tmp_path, monkeypatch):
    from huggingface_hub.errors import LocalEntryNotFoundError
    from timm.models import _builder

    class ConnectError(Exception):
        """Of the HTTP client: no OSError."""

    ConnectError.__module__ = "httpx._exceptions"
    arguments = [*SMALL, "--kd-model-name", "resnet10t.c3_in1k", "--kd-distill-type", "feature"]
    for number, error in enumerate((LocalEntryNotFoundError("no connection\nat all"), ConnectError("timed out"))):

        def fail(*words, error=error, **keywords):
            raise error

        monkeypatch.setattr(_builder, "load_state_dict_from_hf", fail)
        with pytest.raises(UserError) as caught:
            build_here(tmp_path / str(number), *arguments)
        start = "--kd-model-name resnet10t.c3_in1k: the teacher's weights cannot be loaded ("
        assert str(caught.value).startswith(start) and "\n" not in str(caught.value)
