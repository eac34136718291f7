"""The options that all analyses of `sosr-analyze` share: which runs and models, where the files go."""

from __future__ import annotations

import dataclasses
from dataclasses import dataclass
from typing import Any

from sosr_timm.options.fields import flag
from sosr_timm.options.ranges import CHANNELS, CLASSES
from sosr_timm.options.validate import EvaluationDataOptions


@dataclass
class AnalyzedModelOptions:
    runs: tuple[str, ...] = flag(
        (), "run folders, checkpoints, timm models with published weights, hf-hub:ID or local-dir:PATH", positional=True
    )
    checkpoint: str = flag("", "weights of a timm model (.safetensors, or a .pth without pickled objects)")
    which: str = flag("best", "which checkpoint of a run folder", choices=("best", "last"))
    use_ema: bool = flag(False, "the EMA weights of a run or of --checkpoint")
    num_classes: int | None = flag(None, "number of classes; by the data set where not given", allowed=CLASSES)
    in_chans: int | None = flag(None, "image channels; by the data set, else 3, where not given", allowed=CHANNELS)
    gp: str | None = flag(None, "global pooling (fast, avg, max, avgmax)")
    model_kwargs: dict[str, Any] = flag({}, "other arguments of the model's constructor")
    channels_last: bool = flag(False, "channels-last memory layout")
    amp: bool = flag(False, "mixed precision; as the runs were trained where not given")
    amp_dtype: str = flag("float16", "type of mixed precision", choices=("float16", "bfloat16"))
    model_dtype: str | None = flag(
        None, "type of the weights and images, without mixed precision", choices=("float32", "float16", "bfloat16")
    )
    device: str | None = flag(None, "device (cuda, cuda:1, cpu); Accelerate's choice where not given")


@dataclass
class AnalysisReportOptions:
    config: str | None = flag(None, "YAML file of options; the command line overrides it", also=("-c",))
    output: str = flag("output/analysis", "directory for NAME.json, NAME.csv and NAME.png")
    titles: tuple[str, ...] = flag((), "what the plot and the tables call the runs, in their order")
    json: bool | None = flag(
        None, "print one JSON object and nothing else; where not given, a last line of JSON if the output is piped"
    )


@dataclass
class SharedOptions:
    """The options of every analysis; each has a group `analysis` of its own beside them."""

    model: AnalyzedModelOptions = dataclasses.field(default_factory=AnalyzedModelOptions)
    data: EvaluationDataOptions = dataclasses.field(default_factory=EvaluationDataOptions)
    report: AnalysisReportOptions = dataclasses.field(default_factory=AnalysisReportOptions)
