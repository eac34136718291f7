"""The options of `sosr-detect`: RetinaNet on Pascal VOC; the defaults are those of the SOSR paper's table 8."""

from __future__ import annotations

import dataclasses
from dataclasses import dataclass
from typing import Any, ClassVar

from sosr_timm.options.fields import FREE, THIS_START, flag, same_flag
from sosr_timm.options.ranges import IMAGE_SIDE, POSITIVE, PROBABILITY, Range
from sosr_timm.options.schedule import ScheduleOptions
from sosr_timm.options.train import ModelOptions, OptimizerOptions, RunOptions
from sosr_timm.options.train_data import DataOptions

AUGMENTATIONS = ("flip", "ssd", "none")


@dataclass
class DetectionDataOptions:
    data_dir: str | None = flag(
        None, "directory with VOCdevkit in it, as 'sosr-data prepare voc' makes it", positional=True, scope=FREE
    )
    train_splits: tuple[str, ...] = flag(
        ("2007_trainval", "2012_trainval"), "lists of images to train on, each as YEAR_LIST"
    )
    val_split: str = flag("2007_test", "list of images to evaluate on, as YEAR_LIST")
    class_map: str = flag("", "text file with a class a line, in the order of their numbers; VOC's 20 where empty")
    train_difficult: bool = flag(False, "train on objects marked as difficult too; evaluation always ignores them")
    min_side: int = flag(608, "shorter side of the resized images in pixels", allowed=IMAGE_SIDE)
    max_side: int = flag(1024, "longer side that resized images have at most", allowed=IMAGE_SIDE)
    augmentation: str = flag(
        "flip", "flip: at random, left to right; ssd: colours, zoom and crops of SSD too; none", choices=AUGMENTATIONS
    )
    workers: int = same_flag(DataOptions, "workers")
    pin_mem: bool = same_flag(DataOptions, "pin_mem")
    max_bad_images: float = same_flag(DataOptions, "max_bad_images")


@dataclass
class DetectorOptions:
    model: str = flag(
        "torchvision:resnet50",
        "the backbone: a run folder or checkpoint of train.py, a timm model, hf-hub:ID, local-dir:PATH, or "
        "torchvision:NAME for torchvision's ImageNet weights",
        also=("-m",),
    )
    pretrained: bool = flag(True, "start a timm model from its published weights")
    initial_checkpoint: str = flag("", "start a timm model from these weights (.safetensors)")
    which: str = flag("best", "which checkpoint of a run folder", choices=("best", "last"))
    use_ema: bool = flag(False, "the EMA weights of a run")
    model_kwargs: dict[str, Any] = flag({}, "other arguments of the constructor of a timm model")
    feature_maps: tuple[int, int, int] | None = flag(
        None, "indices of the three feature maps that feed the pyramid; the last three where not given"
    )
    pyramid_channels: int = flag(256, "channels of the feature pyramid and of the heads", allowed=Range(1, 4096))
    anchor_scale: float = flag(
        4.0, "side of a level's smallest anchors over its stride: 4 gives 32 pixels at stride 8", allowed=POSITIVE
    )
    freeze_bn: bool = flag(True, "keep the running mean and variance of the backbone's batch norm")
    positive_iou: float = flag(0.5, "overlap from which an anchor belongs to an object", allowed=PROBABILITY)
    negative_iou: float = flag(0.4, "overlap below which an anchor is background", allowed=PROBABILITY)
    box_loss: str = flag(
        "smooth_l1", "loss of the boxes: smooth_l1 (bend at 1/9) or l1 (torchvision's)", choices=("smooth_l1", "l1")
    )
    score_threshold: float = flag(0.05, "score above which a detection counts", allowed=PROBABILITY)
    nms_threshold: float = flag(
        0.5, "overlap above which the weaker of two detections of a class is dropped", allowed=PROBABILITY
    )
    max_detections: int = flag(100, "detections of an image at most", allowed=Range(1, 1000))
    channels_last: bool = same_flag(ModelOptions, "channels_last")
    dist_bn: str = same_flag(ModelOptions, "dist_bn")
    no_ddp_bb: bool = same_flag(ModelOptions, "no_ddp_bb")
    grad_checkpointing: bool = same_flag(ModelOptions, "grad_checkpointing")
    amp: bool = same_flag(ModelOptions, "amp")
    amp_dtype: str = same_flag(ModelOptions, "amp_dtype")
    model_ema: bool = same_flag(ModelOptions, "model_ema")
    model_ema_force_cpu: bool = same_flag(ModelOptions, "model_ema_force_cpu")
    model_ema_decay: float = same_flag(ModelOptions, "model_ema_decay")
    model_ema_warmup: bool = same_flag(ModelOptions, "model_ema_warmup")


@dataclass
class DetectionOptimizerOptions(OptimizerOptions):
    opt: str = same_flag(OptimizerOptions, "opt", default="adam", help="optimizer of timm")
    weight_decay: float = same_flag(OptimizerOptions, "weight_decay", default=0.0)
    clip_grad: float | None = same_flag(OptimizerOptions, "clip_grad", default=0.1)
    batch_size: int = same_flag(OptimizerOptions, "batch_size", default=2)


@dataclass
class DetectionScheduleOptions(ScheduleOptions):
    epochs: int = same_flag(ScheduleOptions, "epochs", default=30)
    sched: str = same_flag(
        ScheduleOptions, "sched", default="plateau", help="schedule of timm; plateau follows the mean training loss"
    )
    lr: float | None = same_flag(ScheduleOptions, "lr", default=1e-5)
    warmup_epochs: int = same_flag(ScheduleOptions, "warmup_epochs", default=0)
    patience_epochs: int = same_flag(
        ScheduleOptions,
        "patience_epochs",
        default=3,
        help="epochs without a lower training loss before the learning rate is reduced (plateau)",
    )


@dataclass
class DetectionRunOptions:
    config: str | None = same_flag(RunOptions, "config")
    seed: int = same_flag(RunOptions, "seed")
    deterministic: bool = same_flag(RunOptions, "deterministic")
    evaluate: str = flag("", "evaluate this finished or stopped run of sosr-detect, train nothing", scope=THIS_START)
    dry_run: bool = same_flag(RunOptions, "dry_run")
    output: str = same_flag(RunOptions, "output", default="output/detection")
    experiment: str = same_flag(
        RunOptions, "experiment", help="name of the run folder; made from data, backbone and seed where empty"
    )
    resume: str = same_flag(RunOptions, "resume", help="'auto', a run folder or a checkpoint to resume")
    no_resume_opt: bool = same_flag(RunOptions, "no_resume_opt")
    checkpoint_every: str = same_flag(RunOptions, "checkpoint_every")
    exit_code_on_signal: int = same_flag(RunOptions, "exit_code_on_signal")
    on_nonfinite: str = same_flag(RunOptions, "on_nonfinite")
    eval_metric: str = flag(
        "map_11point",
        "metric that names the best checkpoint: mean average precision at 11 points of recall (VOC 2007) or under the "
        "curve (VOC 2010 on)",
        choices=("map_11point", "map_area"),
    )
    val_interval: int = same_flag(RunOptions, "val_interval")
    log_interval: int = same_flag(RunOptions, "log_interval")
    pictures: int = flag(
        8, "evaluation images in the picture of detections; 0: no picture", scope=FREE, allowed=Range(0, 100)
    )
    coco_metrics: bool = flag(
        False, "compute COCO's average precisions as well, with --evaluate (extra 'detection')", scope=THIS_START
    )
    save_images: bool = same_flag(RunOptions, "save_images")
    log_with: tuple[str, ...] = same_flag(RunOptions, "log_with")
    project: str = same_flag(RunOptions, "project")
    log_wandb: bool = same_flag(RunOptions, "log_wandb")
    wandb_project: str | None = same_flag(RunOptions, "wandb_project")
    wandb_tags: tuple[str, ...] = same_flag(RunOptions, "wandb_tags")
    wandb_resume_id: str = same_flag(RunOptions, "wandb_resume_id")
    checkpoint_hist: int = same_flag(RunOptions, "checkpoint_hist")
    save_epochs: tuple[int, ...] = same_flag(RunOptions, "save_epochs")
    keep_checkpoints: tuple[int, ...] = same_flag(RunOptions, "keep_checkpoints")
    synchronize_step: bool = same_flag(RunOptions, "synchronize_step")
    device: str | None = same_flag(RunOptions, "device")
    num_processes: int | None = same_flag(RunOptions, "num_processes")


@dataclass
class DetectionOptions:
    """All options of `sosr-detect`."""

    program: ClassVar[str] = "sosr-detect"  # whose runs these are

    data: DetectionDataOptions = dataclasses.field(default_factory=DetectionDataOptions)
    model: DetectorOptions = dataclasses.field(default_factory=DetectorOptions)
    optimizer: DetectionOptimizerOptions = dataclasses.field(default_factory=DetectionOptimizerOptions)
    schedule: DetectionScheduleOptions = dataclasses.field(default_factory=DetectionScheduleOptions)
    run: DetectionRunOptions = dataclasses.field(default_factory=DetectionRunOptions)
