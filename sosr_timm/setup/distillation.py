"""Distillation by timm's tasks: a frozen teacher beside the trained model, and any loss on the labels."""

from __future__ import annotations

from statistics import fmean
from typing import Any

import torch
from accelerate import Accelerator
from timm.task import DistillationTeacher, FeatureDistillationTask, LogitDistillationTask, TokenDistillationTask
from torch import nn

from sosr_timm.data.transforms.image import ImageFormat
from sosr_timm.distributed.processes import Processes
from sosr_timm.errors import UserError, one_line
from sosr_timm.losses.compose import ComposedLoss
from sosr_timm.models.download import checked_download
from sosr_timm.options.task import TaskOptions, is_multi_label
from sosr_timm.setup.model import HUB, NO_MODEL, check_model_name
from sosr_timm.setup.stored_run import find_run, models_of_run

DistillationTask = LogitDistillationTask | FeatureDistillationTask | TokenDistillationTask


def check_distillation(options: TaskOptions) -> None:
    """Refuse flags of a distillation that contradict each other.

    Raises:
        UserError: a weight or size without a teacher, many labels for a softmax.
    """
    needing = {
        "distill-loss-weight": options.distill_loss_weight,
        "task-loss-weight": options.task_loss_weight,
        "kd-student-feature-dim": options.kd_student_feature_dim,
        "kd-teacher-feature-dim": options.kd_teacher_feature_dim,
    }
    given = [name for name, value in needing.items() if value is not None]
    if given and not options.kd_model_name:
        raise UserError(f"--{given[0]} has no effect without a teacher: add --kd-model-name")
    if options.kd_model_name and is_multi_label(options) and options.kd_distill_type != "feature":
        raise UserError(
            f"--kd-distill-type {options.kd_distill_type} compares softmax probabilities, which --task multilabel "
            "does not have; --kd-distill-type feature works"
        )


def make_distillation(
    student: nn.Module, loss: ComposedLoss, options: TaskOptions, form: ImageFormat, processes: Processes
) -> DistillationTask:
    """timm's task of a distillation, its teacher frozen and tried once.

    Args:
        student: on its device, in its type.
        loss: on the labels.
        options: of the distillation.
        form: of the images that the student sees.
        processes: that train.

    Raises:
        UserError: a teacher that cannot be loaded, or is incompatible with the student, the classes or the images.
    """
    # The teacher's images are made from the student's, so the student must say how those were normalised.
    student.pretrained_cfg = {**student.pretrained_cfg, "mean": form.mean, "std": form.std}
    parameter = next(student.parameters())
    device, dtype = parameter.device, parameter.dtype
    try:
        teacher = _teacher(options, student, form, device, dtype)
        teacher.requires_grad_(False)
        if processes.accelerator.mixed_precision != "no":
            _in_mixed_precision(teacher, processes.accelerator)
        common = {"criterion": loss, "device": device, "dtype": dtype, "verbose": False}
        weights = {"distill_loss_weight": options.distill_loss_weight, "task_loss_weight": options.task_loss_weight}
        task = _task(student, teacher, options, {**common, **weights})
        _try_once(task, teacher, options, torch.zeros(2, *form_shape(form), device=device, dtype=dtype))
    except (RuntimeError, ValueError, AssertionError, TypeError, AttributeError) as error:
        raise UserError(f"--kd-model-name {options.kd_model_name}: {one_line(error)}") from None
    return task


def form_shape(form: ImageFormat) -> tuple[int, int, int]:
    return form.channels, form.height, form.width


def _task(
    student: nn.Module, teacher: DistillationTeacher, options: TaskOptions, arguments: dict[str, Any]
) -> DistillationTask:
    if options.kd_distill_type == "feature":
        sizes = {
            "student_feature_dim": options.kd_student_feature_dim,
            "teacher_feature_dim": options.kd_teacher_feature_dim,
        }
        return FeatureDistillationTask(student, teacher, **sizes, **arguments)
    if options.kd_distill_type == "token":
        kind = options.kd_token_distill_type
        return TokenDistillationTask(
            student, teacher, distill_type=kind, temperature=options.kd_temperature, **arguments
        )
    return LogitDistillationTask(
        student, teacher, loss_type=options.kd_loss_type, temperature=options.kd_temperature, **arguments
    )


def _teacher(
    options: TaskOptions, student: nn.Module, form: ImageFormat, device: torch.device, dtype: torch.dtype
) -> DistillationTeacher:
    """The model of a run (its EMA where it kept one), or a timm model with published weights."""
    name, classes = options.kd_model_name, student.num_classes
    run = find_run(name, "best")
    if run is not None:
        if run.about["num_classes"] != classes:
            raise ValueError(f"the teacher has {run.about['num_classes']} classes, the data set {classes}")
        models = models_of_run(run, only_ema=False)
        model = models.get("ema", models["weights"]).to(device=device, dtype=dtype)
        stored = run.about["image_format"]
        model.pretrained_cfg = {**model.pretrained_cfg, "mean": stored["mean"], "std": stored["std"]}
        return DistillationTeacher(model, device=device, dtype=dtype)
    check_model_name(name)
    repository = name.partition(":")[2] if name.startswith(HUB) else None
    try:
        with checked_download(repository):
            teacher = DistillationTeacher(name, num_classes=classes, in_chans=form.channels, device=device, dtype=dtype)
    except NO_MODEL as error:
        raise UserError(f"--kd-model-name {name}: the teacher's weights cannot be loaded ({one_line(error)})") from None
    published = teacher.model.pretrained_cfg.get("num_classes")
    if published != classes and options.kd_distill_type != "feature":
        raise ValueError(
            f"its published weights are for {published} classes and the data set has {classes}, so its classifier "
            "would be random: name a run folder of a teacher trained on this data, or --kd-distill-type feature"
        )
    for statistic in ("mean_kd", "std_kd"):
        values = getattr(teacher, statistic)
        if values.shape[1] != form.channels:
            # timm adds the colour filters up for other channels; they see the mean of the colours' statistics.
            mean = fmean(values.flatten().tolist())
            setattr(teacher, statistic, torch.full((1, form.channels, 1, 1), mean, device=device, dtype=dtype))
    return teacher


def _in_mixed_precision(teacher: DistillationTeacher, accelerator: Accelerator) -> None:
    """Let the teacher, which Accelerate does not prepare, run in the precision of the student."""
    forward = teacher.forward

    def run_in_precision(*arguments: Any, **keywords: Any) -> torch.Tensor:
        with accelerator.autocast():
            return forward(*arguments, **keywords).float()

    teacher.forward = run_in_precision


@torch.no_grad()
def _try_once(task: DistillationTask, teacher: DistillationTeacher, options: TaskOptions, images: torch.Tensor) -> None:
    """Let the teacher see a batch: wrong sizes of images, classes and features show here."""
    feature = options.kd_distill_type == "feature"
    found = teacher(images, return_features=feature)
    if feature:
        task.trainable_module.eval()
        expected = task.trainable_module(images)[1].shape
        if found.shape != expected:
            raise ValueError(f"its features have shape {tuple(found.shape)}, the student's {tuple(expected)}")
