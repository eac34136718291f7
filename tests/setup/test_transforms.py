"""The transforms of a run are timm's for the same flags."""

import numpy as np
import pytest
import torch
from PIL import Image
from timm.data import create_transform

from sosr_timm.data.transforms.image import ImageFormat
from sosr_timm.options.train import AugmentationOptions
from sosr_timm.setup.transforms import make_training_transform, training_interpolation

BICUBIC = ImageFormat(3, 32, 32, (0.5,) * 3, (0.5,) * 3, "bicubic", 0.9, "center", "RGB")


def photograph() -> Image.Image:
    pixels = np.random.default_rng(0).integers(0, 256, (50, 70, 3), dtype=np.uint8)
    return Image.fromarray(pixels)


@pytest.mark.parametrize(
    "options",
    [AugmentationOptions(no_aug=True), AugmentationOptions(no_aug=True, train_interpolation="nearest")],
)
def test_without_augmentation_images_are_resized_as_the_model_asks(options):
    """timm's train.py takes the interpolation of the model's data configuration here."""
    expected = create_transform(
        (3, 32, 32), is_training=True, no_aug=True, interpolation="bicubic", mean=(0.5,) * 3, std=(0.5,) * 3
    )
    image = photograph()
    assert torch.equal(make_training_transform(options, BICUBIC)(image), expected(image))


@pytest.mark.parametrize(
    ("given", "found"), [("", "bicubic"), ("random", "random"), ("bilinear", "bilinear"), ("box", "box")]
)
def test_an_empty_train_interpolation_is_the_models(given, found):
    assert training_interpolation(AugmentationOptions(train_interpolation=given), BICUBIC) == found
