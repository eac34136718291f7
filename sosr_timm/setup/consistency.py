"""Whether the options of a training run fit each other: what one declaration alone cannot say."""

from __future__ import annotations

from sosr_timm.data.transforms.timm_policies import check_policy_name
from sosr_timm.errors import UserError
from sosr_timm.options.task import TaskOptions, is_multi_label
from sosr_timm.options.train import AugmentationOptions, ScheduleOptions, TrainOptions
from sosr_timm.setup.distillation import check_distillation
from sosr_timm.setup.metric_names import best_metric
from sosr_timm.setup.views import check_views

SMALLEST_NOISE = 1e-3  # timm draws the noise of a rate again until it is within its limit


def check_options(options: TrainOptions, resumed: bool = False) -> None:
    """Refuse options that contradict each other, before data or model are touched.

    Args:
        options: of the run.
        resumed: the run was started before, maybe by a version that did not yet make every check.

    Raises:
        UserError: which options, and what to do.
    """
    _check_data(options)
    check_views(options)
    check_distillation(options.task)
    best_metric(options)
    if options.run.record_confidence and is_multi_label(options.task):
        raise UserError("--record-confidence counts p_y of one class per image, which --task multilabel does not have")
    if options.run.record_features:
        _check_features(options)
    if options.run.recovery_interval and options.run.checkpoint_every:
        raise UserError("--recovery-interval and --checkpoint-every mean the same: give one of them")
    if not resumed:
        _check_augmentation(options.augmentation)
        _check_schedule(options.schedule)
        _check_weights(options.task)


def _check_features(options: TrainOptions) -> None:
    incompatible = {
        "--torchcompile": options.model.torchcompile,
        "--task multilabel": is_multi_label(options.task),
        "--train-img-sizes": options.sizes.train_img_sizes is not None,
        "--on-nonfinite skip": options.run.on_nonfinite == "skip",
    }
    flag = next((flag for flag, given in incompatible.items() if given), None)
    if flag:
        raise UserError(f"--record-features does not work with {flag}")


def _check_data(options: TrainOptions) -> None:
    data = options.data
    if data.data and data.data_dir and data.data != data.data_dir:
        raise UserError(f"two data directories: {data.data} and --data-dir {data.data_dir}")


def _check_augmentation(options: AugmentationOptions) -> None:
    if options.aa:
        check_policy_name(options.aa)
    if max(options.scale) > 1 and options.train_crop_mode in (None, "rrc"):
        raise UserError(
            f"--scale {' '.join(f'{end:g}' for end in options.scale)}: the random resized crop takes at most the whole "
            "area, 1; --train-crop-mode rkrc or rkrr can shrink images too"
        )


def _check_schedule(options: ScheduleOptions) -> None:
    if options.lr_noise and options.lr_noise_pct < SMALLEST_NOISE * options.lr_noise_std:
        raise UserError(
            f"--lr-noise-pct {options.lr_noise_pct:g}: at least {SMALLEST_NOISE:g} of --lr-noise-std "
            f"({options.lr_noise_std:g}), else nearly every draw of the noise is thrown away"
        )
    if options.stop_epoch is not None and options.stop_epoch <= (options.start_epoch or 0):
        raise UserError(
            f"--stop-epoch {options.stop_epoch} ends the run before --start-epoch {options.start_epoch} begins"
        )


def _check_weights(options: TaskOptions) -> None:
    task, distillation = options.task_loss_weight, options.distill_loss_weight
    if task is not None and task > 1 and distillation is None:
        raise UserError(
            f"--task-loss-weight {task:g} alone would give the teacher's part the weight {1 - task:g}: at most 1, or "
            "add --distill-loss-weight"
        )
    if distillation == 0 and task == 0:
        raise UserError("--distill-loss-weight 0 and --task-loss-weight 0 leave nothing to learn")
