"""The options of train.py: typed groups, one field per flag, timm's names and defaults."""

from __future__ import annotations

import dataclasses
from dataclasses import dataclass
from typing import Any, ClassVar

from sosr_timm.options.fields import FREE, THIS_START, flag
from sosr_timm.options.ranges import (
    AT_LEAST_ONE,
    BATCH_SIZE,
    CHANNELS,
    CLASSES,
    CROP_PCT,
    DROP_RATE,
    FILE_NAME,
    IMAGE_SIDE,
    INTERVAL,
    NOT_NEGATIVE,
    PIXEL_MEAN,
    PIXEL_STD,
    POSITIVE,
    PROBABILITY,
    Range,
)
from sosr_timm.options.schedule import ScheduleOptions
from sosr_timm.options.task import LossOptions, TaskOptions, losses_with_keywords
from sosr_timm.options.timm_flags import TRAIN_DIFFERENT, TRAIN_FOREIGN, TRAIN_REFUSED, Difference, Foreign, Refusal
from sosr_timm.options.train_data import INTERPOLATIONS, AugmentationOptions, DataOptions, SizeOptions


@dataclass
class ModelOptions:
    model: str = flag("resnet50", "name of a timm model, or hf-hub:ID, local-dir:PATH", any_case=True)
    pretrained: bool = flag(False, "start from the model's published weights")
    pretrained_path: str | None = flag(None, "load the pretrained weights from this file (.safetensors)")
    initial_checkpoint: str = flag("", "start from these weights (.safetensors)")
    num_classes: int | None = flag(None, "number of classes; by the data set where not given", allowed=CLASSES)
    gp: str | None = flag(None, "global pooling (fast, avg, max, avgmax)")
    img_size: int | None = flag(None, "image size in pixels; by the model where not given", allowed=IMAGE_SIDE)
    in_chans: int | None = flag(
        None, "image channels; by the data set, else the model, where not given", allowed=CHANNELS
    )
    input_size: tuple[int, int, int] | None = flag(None, "channels height width of the input", allowed=IMAGE_SIDE)
    crop_pct: float | None = flag(
        None, "share of the image's shorter side kept by the evaluation crop", allowed=CROP_PCT
    )
    crop_mode: str | None = flag(
        None,
        "how evaluation images are cropped: center (resize the shorter side first), squash (resize to a square first) "
        "or border (pad to a square)",
        choices=("center", "squash", "border"),
    )
    mean: tuple[float, ...] | None = flag(None, "mean to normalise with, a value per channel", allowed=PIXEL_MEAN)
    std: tuple[float, ...] | None = flag(
        None, "standard deviation to normalise with, a value per channel", allowed=PIXEL_STD
    )
    interpolation: str = flag("", "resize interpolation; by the model where empty", choices=("", *INTERPOLATIONS))
    model_kwargs: dict[str, Any] = flag({}, "other arguments of the model's constructor")
    head_init_scale: float | None = flag(
        None, "multiply the classifier's initial weights and bias by this", allowed=NOT_NEGATIVE
    )
    head_init_bias: float | None = flag(None, "set the classifier's initial bias to this")
    drop: float = flag(0.0, "dropout rate", allowed=DROP_RATE)
    drop_path: float | None = flag(None, "drop path rate", allowed=DROP_RATE)
    drop_connect: float | None = flag(None, "older name of drop_path", allowed=DROP_RATE)
    drop_block: float | None = flag(None, "drop block rate", allowed=DROP_RATE)
    bn_momentum: float | None = flag(None, "momentum of batch norm", allowed=PROBABILITY)
    bn_eps: float | None = flag(None, "epsilon of batch norm", allowed=Range(above=0, most=1))
    sync_bn: bool = flag(False, "synchronise batch norm over the processes")
    split_bn: bool = flag(False, "batch norm with statistics and weights of its own for each of --aug-splits")
    dist_bn: str = flag(
        "reduce",
        "batch norm statistics over processes after each epoch",
        choices=("broadcast", "reduce", ""),
        null="",
    )
    no_ddp_bb: bool = flag(False, "do not broadcast buffers over the processes at each step")
    grad_checkpointing: bool = flag(False, "recompute activations in the backward pass to save memory")
    channels_last: bool = flag(False, "channels-last memory layout")
    fast_norm: bool = flag(False, "norm layers in the precision of their input, also under --amp")
    torchcompile: str | None = flag(None, "compile model and loss with this backend", const="inductor")
    torchcompile_mode: str | None = flag(None, "mode of torch.compile")
    amp: bool = flag(False, "mixed precision")
    amp_dtype: str = flag("float16", "type of mixed precision", choices=("float16", "bfloat16"))
    model_dtype: str | None = flag(
        None, "type of weights and activations without --amp", choices=("float32", "float16", "bfloat16")
    )
    model_ema: bool = flag(False, "keep an EMA (exponential moving average) of the weights")
    model_ema_force_cpu: bool = flag(False, "keep the EMA on the CPU; it is then not evaluated")
    model_ema_decay: float = flag(0.9998, "decay of the EMA per update", allowed=Range(0, below=1))
    model_ema_warmup: bool = flag(False, "let the decay of the EMA rise from zero")


@dataclass
class OptimizerOptions:
    opt: str = flag("sgd", "optimizer of timm ('sgd' has Nesterov momentum, 'momentum' does not)")
    opt_eps: float | None = flag(None, "epsilon of the optimizer", allowed=NOT_NEGATIVE)
    opt_betas: tuple[float, ...] | None = flag(None, "betas of the optimizer", allowed=Range(0, below=1))
    momentum: float = flag(0.9, "momentum", allowed=Range(0, below=1))
    weight_decay: float = flag(2e-5, "weight decay", allowed=NOT_NEGATIVE)
    clip_grad: float | None = flag(None, "clip gradients at this", allowed=POSITIVE)
    clip_mode: str = flag("norm", "how gradients are clipped", choices=("norm", "value", "agc"))
    layer_decay: float | None = flag(None, "layer-wise decay of the learning rate", allowed=Range(above=0, most=1))
    layer_decay_min_scale: float = flag(0.0, "lower bound of the layer-wise scale", allowed=PROBABILITY)
    layer_decay_no_opt_scale: float | None = flag(None, "freeze layers whose scale is below this", allowed=PROBABILITY)
    opt_kwargs: dict[str, Any] = flag({}, "other arguments of the optimizer")
    batch_size: int = flag(128, "samples per process and step", also=("-b",), scope=FREE, allowed=BATCH_SIZE)
    validation_batch_size: int | None = flag(
        None, "samples per evaluation step; batch size where not given", also=("-vb",), allowed=BATCH_SIZE
    )
    grad_accum_steps: int = flag(1, "batches accumulated for one update", scope=FREE, allowed=Range(1, 100_000))


@dataclass
class RunOptions:
    config: str | None = flag(
        None, "YAML file of options; the command line overrides it", also=("-c",), scope=THIS_START
    )
    seed: int = flag(42, "seed of weights, order of data, augmentation and dropout", allowed=NOT_NEGATIVE)
    deterministic: bool = flag(False, "bit-identical results on the same machine; slower on GPUs")
    dry_run: bool = flag(
        False, "print the plan, make two updates and evaluate a batch, write nothing", scope=THIS_START
    )
    output: str = flag("output/train", "directory of the run folders", scope=FREE, null="")
    experiment: str = flag(
        "", "name of the run folder; made from data, model, loss and seed where empty", scope=FREE, allowed=FILE_NAME
    )
    resume: str = flag(
        "",
        "'auto', a run folder or a checkpoint to resume; also a checkpoint or folder of timm's or torchvision's",
        scope=THIS_START,
    )
    no_resume_opt: bool = flag(False, "do not restore the optimizer's state when resuming", scope=THIS_START)
    checkpoint_every: str = flag(
        "", "checkpoint within epochs too: updates ('500') or seconds ('600s')", scope=FREE, allowed=INTERVAL
    )
    recovery_interval: int = flag(
        0, "updates between checkpoints, as checkpoint_every counts them", scope=FREE, allowed=NOT_NEGATIVE
    )
    exit_code_on_signal: int = flag(
        0, "exit code after a signal ended the run early, for a scheduler's requeue", scope=FREE, allowed=Range(0, 255)
    )
    on_nonfinite: str = flag(
        "stop",
        "for a loss or gradient that is not finite: stop the run, or skip the update",
        choices=("stop", "skip"),
    )
    eval_metric: str = flag(
        "top1",
        "metric that names the best checkpoint; with many labels per image, top1 means map",
        choices=("top1", "top5", "loss", "ece", "brier", "map", "micro_f1", "macro_f1", "sample_f1"),
    )
    val_interval: int = flag(1, "epochs between evaluations", allowed=AT_LEAST_ONE)
    log_interval: int = flag(50, "updates between lines of the log", allowed=AT_LEAST_ONE)
    tta: int = flag(
        0, "evaluate this many views of each image and average their logits, up to 10; 0: one", allowed=Range(0, 10)
    )
    record_confidence: str | None = flag(
        None,
        "record for each epoch how many training samples are over-confident, their images' entropy and the gradient at "
        "the logits: in the training step ('training'), and also in a pass over clean images after it ('clean')",
        const="training",
        choices=("training", "clean"),
        scope=FREE,
    )
    record_features: int | None = flag(
        None,
        "store the penultimate features of the training samples every so many epochs and in the last one, for models "
        "with few of them (cifar_resnet110_2d)",
        const=1,
        scope=FREE,
        allowed=AT_LEAST_ONE,
    )
    save_images: bool = flag(False, "store the last batch of each log interval as a picture", scope=FREE)
    log_with: tuple[str, ...] = flag((), "trackers: tensorboard, wandb, trackio", scope=FREE)
    project: str = flag("sosr_timm", "project name for the trackers", scope=FREE)
    log_wandb: bool = flag(False, "log with wandb too", scope=FREE)
    wandb_project: str | None = flag(None, "project name for wandb; --project where not given", scope=FREE)
    wandb_tags: tuple[str, ...] = flag((), "tags of the wandb run", scope=FREE)
    wandb_resume_id: str = flag("", "id of the wandb run to continue; the run folder's name where empty", scope=FREE)
    checkpoint_hist: int = flag(
        2,
        "how many checkpoints of epochs, and within epochs, to keep beside best and last",
        scope=FREE,
        allowed=NOT_NEGATIVE,
    )
    save_epochs: tuple[int, ...] = flag((), "keep the checkpoints after these epochs", scope=FREE, allowed=AT_LEAST_ONE)
    keep_checkpoints: tuple[int, ...] = flag(
        (),
        "keep this many checkpoints, spread evenly over the epochs; several numbers: the checkpoints of each",
        scope=FREE,
        allowed=AT_LEAST_ONE,
    )
    synchronize_step: bool = flag(False, "wait for the device after each update", scope=FREE)
    device: str | None = flag(
        None, "device to train on (cuda, cuda:1, mps, cpu); Accelerate's choice where not given", scope=FREE
    )
    process_timeout: int = flag(
        600, "seconds to wait for another process before the run ends with an error", scope=FREE, allowed=AT_LEAST_ONE
    )
    num_processes: int | None = flag(
        None, "refuse to start unless this many processes run", scope=THIS_START, allowed=AT_LEAST_ONE
    )


@dataclass
class TrainOptions:
    """All options of train.py."""

    appendix = staticmethod(losses_with_keywords)  # of --help
    refused: ClassVar[dict[str, Refusal]] = TRAIN_REFUSED
    foreign: ClassVar[dict[str, Foreign]] = TRAIN_FOREIGN
    different: ClassVar[dict[str, Difference]] = TRAIN_DIFFERENT

    data: DataOptions = dataclasses.field(default_factory=DataOptions)
    model: ModelOptions = dataclasses.field(default_factory=ModelOptions)
    optimizer: OptimizerOptions = dataclasses.field(default_factory=OptimizerOptions)
    schedule: ScheduleOptions = dataclasses.field(default_factory=ScheduleOptions)
    augmentation: AugmentationOptions = dataclasses.field(default_factory=AugmentationOptions)
    task: TaskOptions = dataclasses.field(default_factory=TaskOptions)
    sizes: SizeOptions = dataclasses.field(default_factory=SizeOptions)
    loss: LossOptions = dataclasses.field(default_factory=LossOptions)
    run: RunOptions = dataclasses.field(default_factory=RunOptions)
