"""Views of an image and halves of a batch: as timm's AugMixDataset, collation and split random erasing make them."""

import random
from dataclasses import replace

import numpy as np
import pytest
import torch
from timm.data import AugMixDataset, create_transform
from timm.data.loader import fast_collate

from sosr_timm.data.loaders.worker_loader import TrainingBatches
from sosr_timm.data.order.order import BatchKey
from sosr_timm.data.order.seeding import SAMPLE, seed_cpu
from sosr_timm.data.transforms.image import ImageFormat, training_transform
from sosr_timm.options.train import AugmentationOptions, SizeOptions
from sosr_timm.setup.transforms import formats, make_training_transform, without_erasing
from tests.data.images import array_source

FORM = ImageFormat(3, 12, 10, (0.4, 0.5, 0.6), (0.2, 0.3, 0.4), "bilinear", 1.0, "center", "RGB")
SOURCE = array_source(16)
AUGMENTATION = {"auto_augment": "augmix-m3-w2", "re_prob": 0.7, "re_mode": "pixel", "interpolation": "bilinear"}


class Pairs:
    """What timm's wrapper expects: a data set with a transform."""

    transform = None

    def __getitem__(self, index):
        image, label = SOURCE.load(index)
        return self.transform(image), label


def batch_of(key, transform, first_half=()):
    return TrainingBatches(SOURCE, transform, "RGB", 5, 0, None, first_half)[key]


@pytest.mark.parametrize("splits", [2, 3])
def test_the_views_are_those_of_timms_wrapper_in_timms_layout(splits):
    pairs = Pairs()
    theirs = AugMixDataset(pairs, splits)
    common = {"is_training": True, "mean": FORM.mean, "std": FORM.std}
    theirs.transform = create_transform(FORM.input_size, separate=True, **common, **AUGMENTATION)
    samples = []
    for index in (3, 0, 9):
        seed_cpu(5, SAMPLE, 2, index)
        samples.append(theirs[index])
    batch = batch_of(BatchKey(2, 0, (3, 0, 9)), training_transform(FORM, None, splits=splits, **AUGMENTATION))
    assert batch.images.shape == (3 * splits, 3, 12, 10)
    for split in range(splits):
        for place, (views, label) in enumerate(samples):
            assert torch.equal(batch.images[split * 3 + place], views[split])
            assert batch.target[split * 3 + place] == label
    as_bytes = [(tuple(np.zeros((3, 2, 2), np.uint8) for _ in views), label) for views, label in samples]
    assert torch.equal(batch.target, fast_collate(as_bytes)[1])


def erased(images):
    """(M,) bool: whether an image of one colour, erased with noise, holds more than that colour."""
    return images.flatten(1).std(dim=1) > 0.01


class Grey:
    """A source of one-coloured images."""

    def load(self, index):
        from PIL import Image

        return Image.new("RGB", (12, 12), (90, 90, 90)), index % 4


PLAIN = AugmentationOptions(hflip=0.0, color_jitter=0.0, crop_padding=0, reprob=1.0, resplit=True)
SQUARE = replace(FORM, width=12, mean=(0.5,) * 3, std=(0.5,) * 3)


@pytest.mark.parametrize(("resplit", "clean"), [(True, 6), (False, 0)])
def test_erasing_spares_the_first_view(resplit, clean):
    options = replace(PLAIN, aug_splits=3, resplit=resplit)
    batches = TrainingBatches(Grey(), make_training_transform(options, SQUARE), "RGB", 5, 0, None)
    found = erased(batches[BatchKey(0, 0, tuple(range(6)))].images)
    assert found.tolist() == [False] * clean + [True] * (18 - clean)
    assert without_erasing(options, [SQUARE]) == ()


def test_erasing_spares_the_first_half_of_a_batch_on_any_number_of_processes():
    transforms = make_training_transform(PLAIN, SQUARE), without_erasing(PLAIN, [SQUARE])
    key = BatchKey(0, 0, tuple(range(8)))
    whole = TrainingBatches(Grey(), transforms[0], "RGB", 5, 0, None, transforms[1])[key].images
    assert erased(whole).tolist() == [False] * 4 + [True] * 4
    for rank in range(2):
        part = TrainingBatches(Grey(), transforms[0], "RGB", 5, rank, None, transforms[1])
        assert torch.equal(part[key._replace(indices=key.indices[rank::2])].images, whole[rank::2])


def test_copies_of_an_image_are_augmented_differently_wherever_they_stand():
    transform = training_transform(FORM, None, **AUGMENTATION)
    batch = batch_of(BatchKey(1, 0, (4, 4, 4, 7), (0, 1, 2, 0)), transform).images
    assert not torch.equal(batch[0], batch[1]) and not torch.equal(batch[1], batch[2])
    random.random(), torch.rand(3)
    again = batch_of(BatchKey(1, 8, (7, 4), (0, 2)), transform).images
    assert torch.equal(again[1], batch[2]) and torch.equal(again[0], batch[3])
    assert torch.equal(batch[0], batch_of(BatchKey(1, 3, (4,)), transform).images[0]), "the first copy is the image"


def test_each_size_has_its_transform():
    sizes = formats(FORM, SizeOptions(train_img_sizes=(8, 16)))
    transforms = tuple(make_training_transform(AugmentationOptions(), form) for form in sizes)
    for choice, side in enumerate((8, 16)):
        assert batch_of(BatchKey(0, 0, (1, 2), (), choice), transforms).images.shape == (2, 3, side, side)
    assert formats(FORM, SizeOptions()) == [FORM]


def test_views_that_would_be_alike_are_refused():
    with pytest.raises(ValueError, match="all views of an image would be the same: give --aa, or --reprob"):
        training_transform(FORM, 2, splits=2)
    assert training_transform(FORM, 2, splits=2, re_prob=0.5)(SOURCE.load(0)[0]).shape == (2, 3, 12, 10)
