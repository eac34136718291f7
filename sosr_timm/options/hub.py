"""The options of `sosr-hub`: publish, push and convert."""

from __future__ import annotations

import dataclasses
from dataclasses import dataclass

from sosr_timm.options.fields import flag
from sosr_timm.options.ranges import CROP_PCT, IMAGE_SIDE, PIXEL_MEAN, PIXEL_STD
from sosr_timm.options.train_data import INTERPOLATIONS


@dataclass
class WeightsOptions:
    which: str = flag("best", "which checkpoint of a run folder", choices=("best", "last"))
    ema: bool = flag(False, "the EMA weights instead of the weights")


@dataclass
class RunOptions:
    run_folder: str | None = flag(None, "run folder, or a checkpoint in it", positional=True)


@dataclass
class RepositoryOptions:
    repo_id: str = flag("", "repository on the Hub: ORGANISATION/NAME.TAG")
    private: bool = flag(False, "make a new repository private")


@dataclass
class CardOptions:
    license: str = flag("apache-2.0", "licence of the weights, by the Hub's identifier")
    dataset_id: str = flag("", "the data set's name on the Hub; that of a known data set where not given")
    dry_run: str | None = flag(None, "write this directory and stop before the push")


@dataclass
class FolderOptions:
    folder: str | None = flag(None, "directory that publish or convert has written", positional=True)


@dataclass
class ConversionOptions:
    source: str | None = flag(None, "run folder, checkpoint, .safetensors, .pth or .pth.tar file", positional=True)
    destination: str | None = flag(None, "directory to write", positional=True)
    model: str | None = flag(None, "timm's name of the model, where the file does not say it")
    license: str = flag("", "licence of the weights, by the Hub's identifier")
    img_size: int | None = flag(None, "image size in pixels, where the file does not say it", allowed=IMAGE_SIDE)
    crop_pct: float | None = flag(None, "share of the shorter side that the evaluation crop keeps", allowed=CROP_PCT)
    mean: tuple[float, ...] | None = flag(None, "mean to normalise with, a value per channel", allowed=PIXEL_MEAN)
    std: tuple[float, ...] | None = flag(
        None, "standard deviation to normalise with, a value per channel", allowed=PIXEL_STD
    )
    interpolation: str = flag("", "resize interpolation", choices=("", *INTERPOLATIONS))


@dataclass
class PublishOptions:
    """All options of `publish`."""

    run: RunOptions = dataclasses.field(default_factory=RunOptions)
    weights: WeightsOptions = dataclasses.field(default_factory=WeightsOptions)
    repository: RepositoryOptions = dataclasses.field(default_factory=RepositoryOptions)
    card: CardOptions = dataclasses.field(default_factory=CardOptions)


@dataclass
class PushOptions:
    """All options of `push`."""

    folder: FolderOptions = dataclasses.field(default_factory=FolderOptions)
    repository: RepositoryOptions = dataclasses.field(default_factory=RepositoryOptions)


@dataclass
class ConvertOptions:
    """All options of `convert`."""

    conversion: ConversionOptions = dataclasses.field(default_factory=ConversionOptions)
    weights: WeightsOptions = dataclasses.field(default_factory=WeightsOptions)
