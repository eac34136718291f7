"""The options of `sosr-predict` and `sosr-export`: which trained model, and what is done with it."""

from __future__ import annotations

import dataclasses
from dataclasses import dataclass
from typing import Any

from sosr_timm.options.fields import flag
from sosr_timm.options.ranges import (
    AT_LEAST_ONE,
    BATCH_SIZE,
    CHANNELS,
    CLASSES,
    CROP_PCT,
    IMAGE_SIDE,
    NOT_NEGATIVE,
    PIXEL_MEAN,
    PIXEL_STD,
    WORKERS,
    Range,
)
from sosr_timm.options.train_data import IMAGE_MODES, INTERPOLATIONS


@dataclass
class TrainedModelOptions:
    model: str | None = flag(
        None, "run folder, checkpoint, timm model with published weights, hf-hub:ID or local-dir:PATH", also=("-m",)
    )
    checkpoint: str = flag("", "weights of a timm model (.safetensors, or a .pth without pickled objects)")
    which: str = flag("best", "which checkpoint of a run folder", choices=("best", "last"))
    use_ema: bool = flag(False, "the EMA weights of a run or of --checkpoint")
    temperature: str = flag(
        "",
        "divide the logits by this number; or 'fitted': by what 'validate.py RUN --temperature 0.5' fitted; or the "
        "evaluation.json that holds it",
    )
    class_map: str = flag("", "text file of class names in the order of their numbers, where the model has none")
    num_classes: int | None = flag(None, "number of classes of --checkpoint", allowed=CLASSES)
    in_chans: int | None = flag(None, "image channels; the model's where not given", allowed=CHANNELS)
    model_kwargs: dict[str, Any] = flag({}, "other arguments of the model's constructor")
    reparam: bool = flag(False, "fuse the parallel branches of models that have them")
    img_size: int | None = flag(None, "image size in pixels; the model's where not given", allowed=IMAGE_SIDE)
    input_size: tuple[int, int, int] | None = flag(None, "channels height width of the input", allowed=IMAGE_SIDE)
    crop_pct: float | None = flag(None, "share of the shorter side that the crop keeps", allowed=CROP_PCT)
    crop_mode: str | None = flag(None, "how images are cropped", choices=("center", "squash", "border"))
    mean: tuple[float, ...] | None = flag(None, "mean to normalise with, a value per channel", allowed=PIXEL_MEAN)
    std: tuple[float, ...] | None = flag(
        None, "standard deviation to normalise with, a value per channel", allowed=PIXEL_STD
    )
    interpolation: str = flag("", "resize interpolation", choices=("", *INTERPOLATIONS))
    input_img_mode: str | None = flag(None, "PIL mode of the images", choices=IMAGE_MODES)


@dataclass
class PredictionOptions:
    paths: tuple[str, ...] = flag(
        (),
        "images, directories and archives (.zip, .tar) of images, text files with a path a line, or - for such a list "
        "on standard input",
        positional=True,
    )
    topk: int = flag(5, "how many classes of each image, the most probable first; 0: all", allowed=NOT_NEGATIVE)
    output: str = flag("", "file to write, .csv or .json; standard output where not given")
    format: str | None = flag(None, "format of the output; by the name of --output, else csv", choices=("csv", "json"))
    input_key: str | None = flag(None, "file endings that count as images in directories and archives ('.png;.jpg')")
    config: str | None = flag(None, "YAML file of options; the command line overrides it", also=("-c",))


@dataclass
class ExecutionOptions:
    batch_size: int = flag(64, "images per batch; smaller where memory runs out", also=("-b",), allowed=BATCH_SIZE)
    workers: int = flag(4, "loader processes for each process", also=("-j",), allowed=WORKERS)
    device: str | None = flag(None, "device (cuda, cuda:1, cpu); Accelerate's choice where not given")
    amp: bool = flag(False, "mixed precision; a run's own where not given")
    amp_dtype: str = flag("float16", "type of mixed precision", choices=("float16", "bfloat16"))
    channels_last: bool = flag(False, "channels-last memory layout")
    log_freq: int = flag(0, "batches between progress lines where there is no terminal; 0: none", allowed=NOT_NEGATIVE)
    num_processes: int | None = flag(None, "refuse to start unless this many processes run", allowed=AT_LEAST_ONE)


@dataclass
class PredictOptions:
    """All options of `sosr-predict`."""

    model: TrainedModelOptions = dataclasses.field(default_factory=TrainedModelOptions)
    prediction: PredictionOptions = dataclasses.field(default_factory=PredictionOptions)
    execution: ExecutionOptions = dataclasses.field(default_factory=ExecutionOptions)


@dataclass
class TargetOptions:
    output: str = flag("", "file to write: .onnx, or .pt2 for torch.export; its preprocessing is written beside it")
    fixed_batch: int | None = flag(
        None, "accept batches of this size only; any size where not given", allowed=BATCH_SIZE
    )
    opset: int | None = flag(None, "version of ONNX's operators; torch's choice where not given", allowed=Range(18, 30))
    config: str | None = flag(None, "YAML file of options; the command line overrides it", also=("-c",))


@dataclass
class ExportOptions:
    """All options of `sosr-export`."""

    model: TrainedModelOptions = dataclasses.field(default_factory=TrainedModelOptions)
    target: TargetOptions = dataclasses.field(default_factory=TargetOptions)
