"""The options of train.py that say what is learned: the task, its loss, the teacher of a distillation."""

from __future__ import annotations

from dataclasses import dataclass

from sosr_timm.options.fields import flag
from sosr_timm.options.ranges import AT_LEAST_ONE, NOT_EMPTY, NOT_NEGATIVE, POSITIVE, PROBABILITY, Range

MULTI_LABEL = "multilabel"


@dataclass
class TaskOptions:
    task: str = flag(
        "classification",
        "one class per image, or any number of labels per image",
        choices=("classification", MULTI_LABEL),
    )
    multilabel_threshold: float = flag(
        0.5, "probability at which a label counts as predicted, for F1", allowed=Range(above=0, below=1)
    )
    kd_model_name: str | None = flag(
        None, "teacher to distil from: a timm model with published weights, or a run folder"
    )
    kd_distill_type: str = flag("logit", "what is distilled", choices=("logit", "feature", "token"))
    kd_loss_type: str = flag("kl", "loss between the logits of student and teacher; timm has 'kl'", choices=("kl",))
    distill_loss_weight: float | None = flag(
        None, "weight of the distillation loss; 1 where neither weight is given", allowed=NOT_NEGATIVE
    )
    task_loss_weight: float | None = flag(
        None,
        "weight of the loss on the labels; given alone, the distillation loss has the weight 1 minus this",
        allowed=NOT_NEGATIVE,
    )
    kd_temperature: float = flag(4.0, "temperature of the softmax over the logits of both models", allowed=POSITIVE)
    kd_student_feature_dim: int | None = flag(
        None, "size of the student's features; by the model where not given", allowed=AT_LEAST_ONE
    )
    kd_teacher_feature_dim: int | None = flag(
        None, "size of the teacher's features; by the model where not given", allowed=AT_LEAST_ONE
    )
    kd_token_distill_type: str = flag(
        "soft", "target of a distillation token: the teacher's probabilities or its class", choices=("soft", "hard")
    )


@dataclass
class LossOptions:
    loss: str | None = flag(
        None,
        "loss: base + penalty + ..., for example 'ols+sosr(beta=1.0)'; --help ends with all of them. Taken as written, "
        "unlike in timm: ce has no label smoothing, ls has 0.1. Where not given: ce with timm's label smoothing of "
        "0.1, or bce for many labels",
        allowed=NOT_EMPTY,
    )
    smoothing: float | None = flag(
        None,
        "label smoothing; where not given 0.1 without --loss, as in timm, else what --loss says",
        allowed=Range(0, below=1),
    )
    bce_loss: bool = flag(False, "binary cross entropy; with timm's label smoothing of 0.1, unlike --loss bce")
    jsd_loss: bool = flag(
        False,
        "Jensen-Shannon divergence of --aug-splits and cross entropy; with timm's label smoothing of 0.1, which --loss "
        "jsd has not",
    )
    bce_sum: bool = flag(False, "bce(sum=True): add up over classes instead of averaging")
    bce_target_thresh: float | None = flag(
        None, "bce(target_thresh=): soft targets above this become 1, others 0", allowed=PROBABILITY
    )
    bce_pos_weight: float | None = flag(None, "bce(pos_weight=): weight of positive labels", allowed=POSITIVE)
    poly_epsilon: float | None = flag(None, "poly(epsilon=)", allowed=Range(least=-1))
    poly_gamma: float | None = flag(None, "poly(gamma=), many labels only", allowed=Range(0, 100))
    poly_alpha: float | None = flag(None, "poly(alpha=), many labels only", allowed=PROBABILITY)
    asl_gamma_pos: float | None = flag(None, "asl(gamma_pos=)", allowed=Range(0, 100))
    asl_gamma_neg: float | None = flag(None, "asl(gamma_neg=)", allowed=Range(0, 100))
    asl_clip: float | None = flag(None, "asl(clip=)", allowed=Range(0, below=1))
    asl_reduction: str | None = flag(None, "asl(reduction=)", choices=("batchmean", "sum", "mean"))
    twoway_tp: float | None = flag(None, "twoway(tp=)", allowed=POSITIVE)
    twoway_tn: float | None = flag(None, "twoway(tn=)", allowed=POSITIVE)
    db_neg_scale: float | None = flag(None, "db(neg_scale=)", allowed=POSITIVE)
    db_init_bias: float | None = flag(None, "db(init_bias=)")
    db_focal_gamma: float | None = flag(None, "db(focal_gamma=)", allowed=Range(0, 100))
    class_weights: str | None = flag(
        None,
        "bce, asl(class_weight=): a number, a list 'a,b,c', a file, or inv_freq, effective_num of --class-stats",
        also=("--loss-class-weight",),
    )
    loss_pos_weight: str | None = flag(
        None, "bce, asl(pos_weight=): a number, a list 'a,b,c', a file, or neg_pos of --class-stats"
    )
    class_stats: str | None = flag(None, "JSON file with pos_counts and num_samples, for db and for computed weights")


def loss_text(loss: LossOptions, task: TaskOptions) -> str:
    """--loss, or its default: bce for many labels or with --bce-loss, jsd with --jsd-loss, ce otherwise."""
    by_flag = "bce" if loss.bce_loss or is_multi_label(task) else "jsd" if loss.jsd_loss else "ce"
    return loss.loss or by_flag


def losses_with_keywords(width: int) -> str:
    """Every loss and its keywords, in lines of `width` characters; torch is imported only when somebody asks."""
    from sosr_timm.losses.listing import list_losses

    return list_losses(width)


def is_multi_label(task: TaskOptions) -> bool:
    return task.task == MULTI_LABEL
