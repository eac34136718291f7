"""The options of validate.py: timm's names and defaults where timm has them."""

from __future__ import annotations

import dataclasses
from dataclasses import dataclass
from typing import Any, ClassVar

from sosr_timm.metrics.confidence import CONFIDENCES, P_NORM
from sosr_timm.options.fields import flag
from sosr_timm.options.ranges import (
    AT_LEAST_ONE,
    BATCH_SIZE,
    CHANNELS,
    CLASSES,
    CROP_PCT,
    IMAGE_SIDE,
    LARGEST_IMAGE,
    NOT_NEGATIVE,
    PIXEL_MEAN,
    PIXEL_STD,
    WORKERS,
    Range,
)
from sosr_timm.options.timm_flags import (
    VALIDATE_DIFFERENT,
    VALIDATE_FOREIGN,
    VALIDATE_REFUSED,
    Difference,
    Foreign,
    Refusal,
)
from sosr_timm.options.train_data import IMAGE_MODES, INTERPOLATIONS


@dataclass
class EvaluatedModelOptions:
    run: str | None = flag(
        None,
        "run folder or checkpoint to evaluate, or the directory of the data set",
        positional=True,
        also=("--subject",),
    )
    model: str | None = flag(
        None,
        "timm model, hf-hub:ID or local-dir:PATH; or several: names with commas, a pattern, 'all', a file of names",
        also=("-m",),
    )
    pretrained: bool = flag(False, "the model's published weights")
    checkpoint: str = flag(
        "", "weights of --model (.safetensors, or a .pth without pickled objects), or a directory of such files"
    )
    compare: tuple[str, ...] | None = flag(
        None,
        "two or more runs, checkpoints, models or files of --predictions: is each better than the first on the same "
        "images?",
    )
    which: str = flag("best", "which checkpoint of a run folder", choices=("best", "last"))
    use_ema: bool = flag(False, "evaluate only the EMA weights")
    num_classes: int | None = flag(None, "number of classes; by the data set where not given", allowed=CLASSES)
    in_chans: int | None = flag(None, "image channels; by the data set, else 3, where not given", allowed=CHANNELS)
    gp: str | None = flag(None, "global pooling (fast, avg, max, avgmax)")
    model_kwargs: dict[str, Any] = flag({}, "other arguments of the model's constructor")
    test_pool: bool = flag(False, "pool test-time features of images larger than those of training, uncropped")
    reparam: bool = flag(False, "fuse the parallel branches of models that have them")
    torchcompile: str | None = flag(None, "compile the model with this backend", const="inductor")
    torchcompile_mode: str | None = flag(None, "mode of torch.compile")
    channels_last: bool = flag(False, "channels-last memory layout")
    amp: bool = flag(False, "mixed precision")
    amp_dtype: str = flag("float16", "type of mixed precision", choices=("float16", "bfloat16"))
    model_dtype: str | None = flag(
        None, "type of the weights and images, without mixed precision", choices=("float32", "float16", "bfloat16")
    )
    device: str | None = flag(None, "device to evaluate on (cuda, cuda:1, cpu); Accelerate's choice where not given")
    fast_norm: bool = flag(False, "normalisation layers in the type of mixed precision")


@dataclass
class EvaluationDataOptions:
    data_dir: str | None = flag(None, "the data set: a directory, an archive (.zip, .tar) or a table (.csv, .parquet)")
    dataset: str = flag("", "name of a data set; empty: a directory, or the data of the run", any_case=True)
    split: str = flag("validation", "split to evaluate on")
    val_fraction: float | None = flag(
        None,
        "evaluate on the part that train.py --val-fraction holds out of the training split; the run's where not given",
        allowed=Range(above=0, below=1),
    )
    num_samples: int | None = flag(
        None, "evaluate on this many samples, spread over the split evenly", allowed=AT_LEAST_ONE
    )
    dataset_download: bool = flag(False, "let torchvision download the data set where it can")
    class_map: str = flag("", "text file of the classes in the order of their numbers, one a line")
    input_key: str | None = flag(
        None,
        "field of the image in hfds/NAME; column of the paths in a table; for directories and archives the file "
        "endings that count ('.png;.jpg'); else the run's",
    )
    target_key: str | None = flag(
        None,
        "field of the target in hfds/NAME, or several with commas; column of the labels in a table; else the run's",
    )
    target_format: str = flag(
        "",
        "how hfds/NAME stores targets: as class indices, or as vectors with an entry for each class; else the run's",
        choices=("", "indices", "multihot"),
    )
    dataset_trust_remote_code: bool = flag(False, "run the loading script that comes with hfds/NAME (datasets < 4)")
    real_labels: str = flag("", "JSON file of ImageNet's reassessed labels (ReaL)")
    valid_labels: str = flag(
        "", "text file of the classes that may be guessed, as in ImageNet-A: numbers, or names of --class-map"
    )
    ood_dataset: str = flag(
        "",
        "name of another data set, whose images the model should tell from its own by its confidence; labels ignored",
        any_case=True,
    )
    ood_data_dir: str | None = flag(None, "that other data set: a directory, an archive or a table")
    ood_split: str = flag("validation", "split of the other data set")
    ood_num_samples: int | None = flag(
        None, "take this many images of the other data set, spread over its split evenly", allowed=AT_LEAST_ONE
    )
    input_img_mode: str | None = flag(None, "PIL mode of the images", choices=IMAGE_MODES)
    loader: str = flag(
        "auto",
        "batches from loader processes, image by image ('workers'), or on the device for data in memory ('device')",
        choices=("auto", "workers", "device"),
    )
    no_prefetcher: bool = flag(False, "normalise images in the loader processes, not on the device")
    workers: int = flag(4, "loader processes for each process", also=("-j",), allowed=WORKERS)
    batch_size: int | None = flag(
        None, "samples per batch; the run's, else 256, where not given", also=("-b",), allowed=BATCH_SIZE
    )
    retry: bool = flag(False, "retry with a smaller batch when memory runs out; always on for a list of models")
    pin_mem: bool = flag(False, "pin the loader's memory")
    img_size: int | None = flag(None, "image size in pixels", allowed=IMAGE_SIDE)
    input_size: tuple[int, int, int] | None = flag(None, "channels height width of the input", allowed=IMAGE_SIDE)
    use_train_size: bool = flag(False, "the size that pretrained weights were trained at, not the one they advise")
    crop_pct: float | None = flag(None, "share of the shorter side that the crop keeps", allowed=CROP_PCT)
    crop_mode: str | None = flag(None, "how images are cropped", choices=("center", "squash", "border"))
    crop_border_pixels: int | None = flag(
        None, "cut this many pixels off each edge first", allowed=Range(0, LARGEST_IMAGE)
    )
    mean: tuple[float, ...] | None = flag(None, "mean to normalise with, a value per channel", allowed=PIXEL_MEAN)
    std: tuple[float, ...] | None = flag(
        None, "standard deviation to normalise with, a value per channel", allowed=PIXEL_STD
    )
    interpolation: str = flag("", "resize interpolation", choices=("", *INTERPOLATIONS))


@dataclass
class ReportOptions:
    config: str | None = flag(None, "YAML file of options; the command line overrides it", also=("-c",))
    output: str | None = flag(None, "directory for evaluation.json and the plots; the run's where not given")
    results_file: str = flag("", "write the results into this file too (.csv, .json, .md; CSV for any other ending)")
    results_format: str | None = flag(
        None, "format of that file; by its name where not given", choices=("csv", "json", "md")
    )
    metrics_avg: str | None = flag(
        None, "show precision, recall and F1, averaged so", choices=("micro", "macro", "weighted")
    )
    multilabel_threshold: float | None = flag(
        None,
        "probability at which a label counts as predicted, for F1; the run's, else 0.5, where not given",
        allowed=Range(above=0, below=1),
    )
    per_class: bool = flag(False, "write classes.csv, confusion.csv and confusion.png too")
    temperature: float = flag(
        0.0,
        "fit a temperature on this share of the images, and report the others before and after",
        allowed=Range(0, below=1),
    )
    confidence: str = flag(
        "max_softmax",
        "by which confidence tables, lists and comparisons reject predictions; evaluation.json has all of them",
        choices=CONFIDENCES,
    )
    p_norm: float = flag(P_NORM, "p of the confidence p_norm", allowed=Range(above=0))
    resamples: int | None = flag(
        None,
        "resamples of the bootstrap of every metric of --compare; where not given 2000, or more for many comparisons",
        allowed=Range(100),
    )
    predictions: str = flag(
        "", "write each image's label and best predictions into this file (.npz or .csv); those of the EMA beside it"
    )
    json: bool | None = flag(
        None, "print one JSON object and nothing else; where not given, a last line of JSON if the output is piped"
    )
    log_freq: int = flag(10, "batches between progress lines; 0: none", allowed=NOT_NEGATIVE)
    seed: int = flag(
        42, "seed of the bootstrap and of the images that a temperature is fitted on", allowed=NOT_NEGATIVE
    )
    num_gpu: int = flag(1, "only 1 is accepted; for several GPUs start validate.py with torchrun", allowed=AT_LEAST_ONE)
    num_processes: int | None = flag(None, "refuse to start unless this many processes run", allowed=AT_LEAST_ONE)


@dataclass
class ValidateOptions:
    """All options of validate.py."""

    refused: ClassVar[dict[str, Refusal]] = VALIDATE_REFUSED
    foreign: ClassVar[dict[str, Foreign]] = VALIDATE_FOREIGN
    different: ClassVar[dict[str, Difference]] = VALIDATE_DIFFERENT

    model: EvaluatedModelOptions = dataclasses.field(default_factory=EvaluatedModelOptions)
    data: EvaluationDataOptions = dataclasses.field(default_factory=EvaluationDataOptions)
    report: ReportOptions = dataclasses.field(default_factory=ReportOptions)
