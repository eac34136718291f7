"""Image files and sources for the tests of data."""

from pathlib import Path

import numpy as np
from PIL import Image

from sosr_timm.data.sources.source import ArraySource, SourceInfo
from sosr_timm.data.transforms.image import ImageFormat


def picture(seed=0, size=(12, 10), mode="RGB"):
    """A picture of noise, (width, height) pixels."""
    pixels = np.random.default_rng(seed).integers(0, 256, (size[1], size[0], 3), dtype=np.uint8)
    return Image.fromarray(pixels).convert(mode)


def write_picture(path: Path, seed=0, size=(12, 10), mode="RGB", **arguments) -> Path:
    path.parent.mkdir(parents=True, exist_ok=True)
    picture(seed, size, mode).save(path, **arguments)
    return path


def class_folders(root: Path, classes=("cat", "dog"), splits=("train", "val"), each=3) -> Path:
    """root/SPLIT/CLASS/0.png, 1.png, ..."""
    seed = 0
    for split in splits:
        for name in classes:
            for number in range(each):
                write_picture(root / split / name / f"{number}.png", seed := seed + 1)
    return root


def array_source(count=24, side=12, channels=3, classes=4) -> ArraySource:
    random = np.random.default_rng(7)
    shape = (count, side, side) if channels == 1 else (count, side, side, channels)
    images = random.integers(0, 256, shape, dtype=np.uint8)
    return ArraySource(images, np.arange(count) % classes, SourceInfo(num_classes=classes), "noise")


def image_format(channels=3, height=8, width=8) -> ImageFormat:
    mean, std = (0.4, 0.5, 0.6)[:channels], (0.2, 0.3, 0.25)[:channels]
    mode = {1: "L", 3: "RGB"}[channels]
    return ImageFormat(channels, height, width, mean, std, "bilinear", 0.875, "center", mode)
