"""Normalising a batch on the device gives the bits of normalising image by image, for every way a batch is made."""

import dataclasses

import pytest
import torch
from PIL import Image

from sosr_timm.data.loaders.worker_loader import EvaluationBatches, TrainingBatches, evaluation_loader
from sosr_timm.data.order.order import EvaluationOrder, TrainingOrder, TrainingSampler
from sosr_timm.data.sources.source import ImageSource, SourceInfo
from sosr_timm.data.transforms.image import evaluation_transform, training_transform
from sosr_timm.data.transforms.normalize import Normalization
from sosr_timm.data.transforms.test_time_views import AveragedViews
from sosr_timm.options.train import AugmentationOptions
from sosr_timm.setup.transforms import ends_with_normalising, make_training_transform
from tests.data.images import array_source, image_format
from tests.data.order.test_seeding import AUGMENTATION, mix

WITHOUT_ERASING = {**AUGMENTATION, "re_prob": 0.0}


class Torn(ImageSource):
    """Images of which one, or each, cannot be read."""

    def __init__(self, torn: range):
        self.source, self.torn = array_source(12), torn
        self.info = SourceInfo(num_classes=4)

    def __len__(self):
        return len(self.source)

    def load(self, index):
        if index in self.torn:
            raise OSError("torn")
        return self.source.load(index)


def training(source, form, as_bytes, mixing=None, crop_padding=None, workers=0):
    transform = training_transform(form, crop_padding, as_bytes=as_bytes, **WITHOUT_ERASING)
    batches = TrainingBatches(source, transform, form.image_mode, 7, 0, mixing, (), form if as_bytes else None)
    return list(batches.batches(TrainingSampler(TrainingOrder(len(source), 6, seed=3), 0, 0, 2), workers, False))


def assert_same(floats, others):
    assert len(floats) == len(others) > 0
    for one, other in zip(floats, others, strict=True):
        assert one.images.dtype == other.images.dtype == torch.float32
        assert torch.equal(one.images, other.images) and torch.equal(one.target, other.target)
        assert one.unreadable == other.unreadable


@pytest.mark.parametrize("mixing", [None, mix()], ids=["plain", "mixed"])
@pytest.mark.parametrize("channels", [1, 3])
@pytest.mark.parametrize("crop_padding", [None, 2])
def test_training(mixing, channels, crop_padding):
    source, form = array_source(channels=channels), image_format(channels)
    assert_same(*(training(source, form, as_bytes, mixing, crop_padding) for as_bytes in (False, True)))


@pytest.mark.filterwarnings("ignore:This DataLoader will create")
def test_bytes_come_from_loader_processes():
    source, form = array_source(), image_format()
    assert_same(training(source, form, False), training(source, form, True, workers=2))


@pytest.mark.parametrize("torn", [range(1), range(12)], ids=["one", "all"])
def test_images_that_cannot_be_read(torn):
    assert_same(*(training(Torn(torn), image_format(), as_bytes) for as_bytes in (False, True)))


@pytest.mark.parametrize("mode", ["RGB", "RGBA", "CMYK", "L"])
@pytest.mark.parametrize("views", [1, 4])
def test_evaluation(mode, views):
    source, order = array_source(), EvaluationOrder(24, 5)
    channels = len(Image.new(mode, (1, 1)).getbands())
    form = dataclasses.replace(
        image_format(), channels=channels, image_mode=mode, mean=(0.4, 0.5, 0.6, 0.1)[:channels], std=(0.25,) * channels
    )
    made = []
    for as_bytes in (False, True):
        transform = evaluation_transform(form, as_bytes=as_bytes)
        transform = AveragedViews(transform, views) if views > 1 else transform
        batches = EvaluationBatches(source, transform, mode, order)
        made.append(list(evaluation_loader(batches, 0, False, Normalization(form) if as_bytes else None)))
    assert_same(*made)


@pytest.mark.parametrize(
    ("given", "ends"),
    [
        ({}, True),
        ({"aa": "rand-m9", "hflip": 1.0}, True),
        ({"reprob": 0.1}, False),
        ({"cutout": 2}, False),
        ({"aug_splits": 2, "aa": "augmix"}, False),
        ({"reprob": 0.1, "no_aug": True}, True),
    ],
)
def test_only_what_ends_with_it_can_leave_it_to_the_batch(given, ends):
    options = AugmentationOptions(**given)
    assert ends_with_normalising(options) == ends
    if ends:
        image = make_training_transform(options, image_format(), as_bytes=True)(array_source().load(0)[0])
        assert image.dtype == torch.uint8 and image.shape == (3, 8, 8)
