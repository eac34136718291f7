"""The options of train.py that concern its data: what is read, how it is augmented."""

from __future__ import annotations

from dataclasses import dataclass

from sosr_timm.options.fields import FREE, flag
from sosr_timm.options.ranges import (
    AT_LEAST_ONE,
    BATCH_SIZE,
    IMAGE_SIDE,
    LARGEST_IMAGE,
    NOT_NEGATIVE,
    PROBABILITY,
    WORKERS,
    Items,
    Range,
)

IMAGE_MODES = ("L", "LA", "RGB", "RGBA", "CMYK", "YCbCr", "HSV")  # those that hold a byte per channel
ORDERS = ("auto", "permutation", "bijection", "shards")
INTERPOLATIONS = ("nearest", "bilinear", "bicubic", "box", "hamming", "lanczos")


@dataclass
class DataOptions:
    data: str | None = flag(
        None,
        "the data set: a directory, an archive (.zip, .tar) or a table (.csv, .parquet)",
        positional=True,
        scope=FREE,
    )
    data_dir: str | None = flag(None, "the data set, as a flag", scope=FREE)
    dataset: str = flag(
        "",
        "name of a data set ('digits', 'fashion_mnist', timm's 'torch/cifar10', 'wds/' for tar shards); empty: "
        "--data-dir alone",
        any_case=True,
    )
    train_split: str = flag("train", "split to train on")
    val_split: str = flag("validation", "split to evaluate on; no evaluation where empty", null="")
    val_fraction: float | None = flag(
        None,
        "evaluate on about this share of the training split, held out by a hash of the file names; no evaluation split",
        allowed=Range(above=0, below=1),
    )
    train_num_samples: int | None = flag(
        None, "train on this many samples of the split, spread over it evenly", allowed=AT_LEAST_ONE
    )
    val_num_samples: int | None = flag(
        None, "evaluate on this many samples of the split, spread over it evenly", allowed=AT_LEAST_ONE
    )
    long_tail: float | None = flag(
        None,
        "reduce the classes exponentially: the last one keeps this share of the images of the first",
        allowed=Range(above=0, most=1),
    )
    label_noise: float | None = flag(
        None, "give this share of the training images, drawn at random, a label of another class", allowed=PROBABILITY
    )
    epoch_repeats: float = flag(
        0.0, "passes over the training set per epoch; 0: one", allowed=Range(1, 10_000, also=(0,))
    )
    order: str = flag(
        "auto",
        "order of the training samples: a permutation, a bijection that needs no memory, or shards in random order and "
        "the samples of a few at a time; auto: a permutation up to 16,777,216 samples, else a bijection",
        choices=ORDERS,
    )
    shard_window: int = flag(16, "shards whose samples --order shards mixes", allowed=Range(1, 1_000_000))
    dataset_download: bool = flag(False, "let torchvision download the data set where it can", scope=FREE)
    class_map: str = flag("", "text file of the classes in the order of their numbers, one a line")
    input_img_mode: str | None = flag(
        None, "PIL mode of the images; by the number of channels where not given", choices=IMAGE_MODES
    )
    input_key: str | None = flag(
        None,
        "field of the image in hfds/NAME; column of the paths in a table ('path'); for directories and archives the "
        "file endings that count ('.png;.jpg')",
    )
    target_key: str | None = flag(
        None,
        "field of the target in hfds/NAME, or several with commas: a label for each; column of the labels in a table "
        "('label')",
    )
    target_format: str = flag(
        "",
        "how hfds/NAME stores targets: as class indices, or as vectors with an entry for each class",
        choices=("", "indices", "multihot"),
    )
    dataset_trust_remote_code: bool = flag(False, "run the loading script that comes with hfds/NAME (datasets < 4)")
    worker_seeding: str = flag(
        "all",
        "timm's seeding of loader processes; here every image is seeded by itself, so both mean the same",
        choices=("all", "part"),
    )
    no_prefetcher: bool = flag(
        False,
        "make and normalise batches in the loader processes, where --loader workers alone normalises on the device",
    )
    use_multi_epochs_loader: bool = flag(False, "keep loader processes over epochs, as is always done here")
    loader: str = flag(
        "auto",
        "batches from loader processes, image by image ('workers'), or on the device for data in memory ('device')",
        choices=("auto", "workers", "device"),
    )
    workers: int = flag(4, "loader processes for each training process", also=("-j",), scope=FREE, allowed=WORKERS)
    pin_mem: bool = flag(False, "pin the loader's memory", scope=FREE)
    max_bad_images: float = flag(
        0.001, "stop when more than this share of the training images is unreadable", scope=FREE, allowed=PROBABILITY
    )


@dataclass
class AugmentationOptions:
    no_aug: bool = flag(False, "no augmentation")
    crop_padding: int | None = flag(
        None,
        "random crop after padding by this many pixels (CIFAR style), no resizing",
        allowed=Range(0, LARGEST_IMAGE),
    )
    train_resize: int | None = flag(
        None,
        "make squares of this many pixels of training images before a random crop of the image size",
        allowed=IMAGE_SIDE,
    )
    train_crop_mode: str | None = flag(None, "crop of training images", choices=("rrc", "rkrc", "rkrr"))
    scale: tuple[float, float] = flag(
        (0.08, 1.0),
        "area range of the random resized crop",
        allowed=Range(above=0, most=10),
        items=Items(not_falling=True),
    )
    ratio: tuple[float, float] = flag(
        (3 / 4, 4 / 3),
        "aspect ratio range of the random resized crop",
        allowed=Range(0.01, 100),
        items=Items(not_falling=True),
    )
    hflip: float = flag(0.5, "probability of a horizontal flip", allowed=PROBABILITY, null=0.0)
    vflip: float = flag(0.0, "probability of a vertical flip", allowed=PROBABILITY)
    color_jitter: float = flag(0.4, "colour jitter", allowed=Range(0, 10), null=0.0)
    color_jitter_prob: float | None = flag(None, "probability of colour jitter", allowed=PROBABILITY)
    grayscale_prob: float | None = flag(None, "probability of a grey image", allowed=PROBABILITY)
    gaussian_blur_prob: float | None = flag(None, "probability of blur", allowed=PROBABILITY)
    aa: str | None = flag(
        None,
        "policy of timm ('v0', 'rand-m9-mstd0.5', 'augmix-m5'), of torchvision ('cifar10', 'imagenet', 'svhn', 'ra', "
        "'ta_wide'), or a policy file (.yaml)",
    )
    aug_repeats: float = flag(
        0.0,
        "repeated augmentation: show each image this many times in a row; the epoch keeps its length; 0: off",
        allowed=Range(1, 1_000, also=(0,)),
    )
    aug_splits: int = flag(
        0,
        "views of each image in a batch, the first one not augmented (AugMix); 0, or at least 2",
        allowed=Range(2, 16, also=(0,)),
    )
    resplit: bool = flag(False, "no random erasing in the first view, or without views the first half of each batch")
    reprob: float = flag(0.0, "probability of random erasing", allowed=PROBABILITY)
    remode: str = flag("pixel", "fill of random erasing", choices=("const", "rand", "pixel"))
    recount: int = flag(1, "largest number of erased regions", allowed=Range(1, 100))
    cutout: int | None = flag(
        None, "side in pixels of a square that is erased at a random position of every image", allowed=IMAGE_SIDE
    )
    train_interpolation: str = flag(
        "random",
        "resize interpolation in training; the model's where empty, and with --no-aug",
        choices=("", "random", *INTERPOLATIONS),
        null="",
    )
    mixup: float = flag(0.0, "alpha of Mixup", allowed=Range(0, 100))
    cutmix: float = flag(0.0, "alpha of CutMix", allowed=Range(0, 100))
    cutmix_minmax: tuple[float, float] | None = flag(
        None, "range of CutMix box sides; overrides alpha", allowed=PROBABILITY, items=Items(rising=True)
    )
    mixup_prob: float = flag(1.0, "probability that a batch (or element) is mixed", allowed=PROBABILITY)
    mixup_switch_prob: float = flag(0.5, "probability of CutMix where both are on", allowed=PROBABILITY)
    mixup_mode: str = flag("batch", "level at which mixing is drawn", choices=("batch", "pair", "elem"))
    mixup_off_epoch: int = flag(0, "no mixing from this epoch on, 0: never off", allowed=NOT_NEGATIVE)


@dataclass
class SizeOptions:
    train_img_sizes: tuple[int, ...] | None = flag(
        None, "train at several image sizes, one drawn for each batch", allowed=IMAGE_SIDE
    )
    train_batch_sizes: tuple[int, ...] | None = flag(
        None,
        "samples per process and batch at each of these sizes; batch size where not given",
        scope=FREE,
        allowed=BATCH_SIZE,
    )
    train_size_probs: tuple[float, ...] | None = flag(
        None, "how often each of these sizes is drawn; equally often", allowed=NOT_NEGATIVE
    )
    train_size_schedule: str = flag(
        "constant", "draw from all sizes alike, or move from the first to the last", choices=("constant", "progressive")
    )
    train_size_schedule_spread: float = flag(
        0.65, "width of the moving window, in sizes; 0: the nearest size alone", allowed=NOT_NEGATIVE
    )
    train_size_random_mix: float = flag(
        0.1, "share of the moving schedule's draws that are uniform", allowed=PROBABILITY
    )
    train_steps_per_epoch: int | None = flag(
        None,
        "batches that make an epoch, whatever the size of the training set",
        also=("--train-batches-per-epoch",),
        allowed=Range(1, 10_000_000),
    )
    variable_batch_loss_scale: str = flag(
        "none",
        "weigh a batch's loss by its samples over batch size, or by the root of that",
        choices=("none", "sqrt", "linear"),
    )
