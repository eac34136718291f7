"""The options of validate.py: timm's names and defaults where timm has them."""

from __future__ import annotations

import dataclasses
from dataclasses import dataclass
from typing import Any, ClassVar

from sosr_timm.options.fields import flag
from sosr_timm.options.refused import VALIDATE_REFUSED, Refusal


@dataclass
class SubjectOptions:
    subject: str | None = flag(
        None, "run folder or checkpoint to evaluate; else the folder of the data set", positional=True
    )
    model: str | None = flag(None, "timm model, or hf-hub:ID, local-dir:PATH", also=("-m",))
    pretrained: bool = flag(False, "the model's published weights")
    checkpoint: str = flag("", "weights of --model (.safetensors, or a .pth without pickled objects)")
    which: str = flag("best", "which checkpoint of a run folder", choices=("best", "last"))
    use_ema: bool = flag(False, "only the average of the weights")
    num_classes: int | None = flag(None, "number of classes; by the data set where not given")
    in_chans: int | None = flag(None, "image channels; by the data set, else 3, where not given")
    gp: str | None = flag(None, "global pooling (fast, avg, max, avgmax)")
    model_kwargs: dict[str, Any] = flag({}, "other arguments of the model's constructor")
    torchcompile: str | None = flag(None, "compile the model with this backend", const="inductor")
    torchcompile_mode: str | None = flag(None, "mode of torch.compile")
    channels_last: bool = flag(False, "channels-last memory layout")
    amp: bool = flag(False, "mixed precision")
    amp_dtype: str = flag("float16", "type of mixed precision", choices=("float16", "bfloat16"))


@dataclass
class EvaluationDataOptions:
    data_dir: str | None = flag(None, "folder of the data set")
    dataset: str = flag("", "name of a data set; empty: a folder, or the run's")
    split: str = flag("validation", "split to evaluate on")
    num_samples: int | None = flag(None, "evaluate on this many samples, spread over the split evenly")
    dataset_download: bool = flag(False, "let torchvision download the data set where it can")
    class_map: str = flag("", "text file that maps class folder to index")
    input_img_mode: str | None = flag(None, "PIL mode of the images (RGB, L)")
    workers: int = flag(4, "loader processes for each process", also=("-j",))
    batch_size: int | None = flag(None, "samples per batch; the run's, else 256, where not given", also=("-b",))
    pin_mem: bool = flag(False, "pin the loader's memory")
    img_size: int | None = flag(None, "image size in pixels")
    input_size: tuple[int, int, int] | None = flag(None, "channels height width of the input")
    crop_pct: float | None = flag(None, "share of the shorter side that the crop keeps")
    crop_mode: str | None = flag(None, "how images are cropped", choices=("center", "squash", "border"))
    mean: tuple[float, ...] | None = flag(None, "mean to normalise with, a value per channel")
    std: tuple[float, ...] | None = flag(None, "standard deviation to normalise with, a value per channel")
    interpolation: str = flag("", "resize interpolation")


@dataclass
class ReportOptions:
    config: str | None = flag(None, "YAML file of options; the command line beats it", also=("-c",))
    results_file: str = flag("", "write the results into this file too")
    results_format: str = flag("json", "format of that file", choices=("json", "csv"))
    num_processes: int | None = flag(None, "refuse to start unless this many processes run")


@dataclass
class ValidateOptions:
    """Everything validate.py can be told."""

    refused: ClassVar[dict[str, Refusal]] = VALIDATE_REFUSED

    subject: SubjectOptions = dataclasses.field(default_factory=SubjectOptions)
    data: EvaluationDataOptions = dataclasses.field(default_factory=EvaluationDataOptions)
    report: ReportOptions = dataclasses.field(default_factory=ReportOptions)
