"""Which data set a run had, and its name on the Hub."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

from sosr_timm.options.train import TrainOptions


@dataclass(frozen=True)
class Dataset:
    """A data set as a card names it.

    Attributes:
        key: short name, as in the recipes' directories (`cifar100`).
        title: for people.
        hub_id: on the Hub; "" where it has none that is known.
    """

    key: str
    title: str
    hub_id: str


KNOWN = {
    "cifar10": ("CIFAR-10", "uoft-cs/cifar10"),
    "cifar100": ("CIFAR-100", "uoft-cs/cifar100"),
    "fashion_mnist": ("Fashion-MNIST", "zalando-datasets/fashion_mnist"),
    "imagenet": ("ImageNet-1k", "ILSVRC/imagenet-1k"),
    "tiny_imagenet": ("Tiny ImageNet", "zh-plus/tiny-imagenet"),
    "digits": ("scikit-learn's digits", ""),
    "glyphs": ("Glyphs of Debian's fonts", ""),
}


def dataset_of(options: TrainOptions, recipe: str, hub_id: str = "") -> Dataset:
    """The data set of a run.

    Args:
        options: of the run; data without a name is called after the recipe's directory, else after its own.
        recipe: name of the run's recipe, as `imagenet/sosr_resnet50`.
        hub_id: its name on the Hub where it is not the known one.
    """
    prefix, _, rest = options.data.dataset.partition("/")
    if prefix == "hfds":
        return Dataset(rest, rest, hub_id or rest)
    key = rest or prefix
    if key in ("", "folder"):
        family = recipe.partition("/")[0] if "/" in recipe else ""
        key = family or Path(options.data.data or options.data.data_dir or "images").resolve().name
    title, known = KNOWN.get(key, (key, ""))
    return Dataset(key, title, hub_id or known)
