"""Augmentation and mixing depend on seed, epoch and position alone: not on workers, processes or what came before."""

import pickle

import numpy as np
import pytest
import torch

from sosr_timm.data.loaders.batch import Batch
from sosr_timm.data.loaders.worker_loader import EvaluationBatches, TrainingBatches, evaluation_loader, training_loader
from sosr_timm.data.order.order import BatchKey, EvaluationOrder, TrainingOrder, TrainingSampler
from sosr_timm.data.order.seeding import seed_cpu, seed_everything, seed_words
from sosr_timm.data.transforms.image import evaluation_transform, training_transform
from sosr_timm.data.transforms.mixing import Mixing
from tests.data.images import array_source, image_format

pytestmark = pytest.mark.filterwarnings("ignore:This DataLoader will create")
SOURCE = array_source()
# Everything random that timm has at once: `random`, NumPy and torch all take part.
AUGMENTATION = {
    "scale": (0.3, 1.0),
    "ratio": (0.75, 1.33),
    "color_jitter": 0.4,
    "auto_augment": "rand-m9-n3-mstd0.5-inc1",
    "interpolation": "random",
    "re_prob": 0.5,
    "re_mode": "pixel",
    "gaussian_blur_prob": 0.0,
    "grayscale_prob": 0.2,
}


def batches(rank=0, mixing=None, seed=42, crop_padding=None):
    transform = training_transform(image_format(), crop_padding, **AUGMENTATION)
    return TrainingBatches(SOURCE, transform, "RGB", seed, rank, mixing)


def mix(**arguments):
    return Mixing(**{"mixup_alpha": 0.8, "cutmix_alpha": 1.0, "num_classes": 4, "label_smoothing": 0.0, **arguments})


def stream(workers, mixing=None, epoch=0, batch=0, epochs=2):
    order = TrainingOrder(len(SOURCE), 6, seed=42)
    return list(training_loader(batches(mixing=mixing), TrainingSampler(order, epoch, batch, epochs), workers, False))


def assert_same(one, other):
    assert len(one) == len(other) > 0
    for a, b in zip(one, other, strict=True):
        assert a.position == b.position and a.unreadable == b.unreadable
        assert torch.equal(a.images, b.images) and torch.equal(a.target, b.target)


@pytest.mark.parametrize("mixing", [None, mix()], ids=["plain", "mixed"])
def test_batches_do_not_depend_on_the_number_of_workers(mixing):
    assert_same(stream(0, mixing), stream(3, mixing))


def test_batches_do_not_depend_on_where_training_starts():
    whole = stream(0, mix())
    assert_same(stream(2, mix(), epoch=0, batch=3), whole[3:])
    assert_same(stream(0, mix(), epoch=1, batch=2), whole[6:])


def test_a_loader_gives_batches_of_the_types_it_states():
    for workers in (0, 2):
        batch = stream(workers)[0]
        assert type(batch) is Batch and type(batch.position) is int and batch.unreadable == ()
        assert batch.images.dtype == torch.float32 and batch.images.shape == (6, 3, 8, 8)
        assert batch.target.dtype == torch.int64 and batch.target.shape == (6,)
    assert stream(0, mix())[0].target.shape == (6, 4)


@pytest.mark.parametrize("crop_padding", [None, 2])
def test_an_image_does_not_depend_on_its_place_in_the_batch(crop_padding):
    data = batches(crop_padding=crop_padding)
    together = data[BatchKey(5, 0, (3, 7, 11))]
    for place, index in enumerate((3, 7, 11)):
        # Other numbers drawn in between, another batch, another rank: the same image.
        torch.rand(5), np.random.rand(3)
        other = batches(rank=1, crop_padding=crop_padding)[BatchKey(5, 9, (index,))]
        assert torch.equal(other.images[0], together.images[place])
        assert other.target[0] == together.target[place] == index % 4


def test_the_processes_see_what_one_would_see():
    alone = batches()[next(TrainingOrder(24, 8, seed=3).keys(1, 0, 2))]
    for rank in range(2):
        part = batches(rank)[next(TrainingOrder(24, 4, 2, rank, seed=3).keys(1, 0, 2))]
        assert torch.equal(part.images, alone.images[rank::2])
        assert torch.equal(part.target, alone.target[rank::2])


def test_epoch_index_and_seed_change_the_augmentation():
    images = [
        batches(seed=seed)[BatchKey(epoch, 0, (index,))].images[0]
        for seed, epoch, index in [(42, 0, 0), (42, 1, 0), (43, 0, 0), (42, 0, 1)]
    ]
    assert all(not torch.equal(images[0], other) for other in images[1:])


def test_mixing_depends_on_seed_epoch_batch_and_rank():
    images, target = torch.rand(6, 3, 8, 8), torch.arange(6) % 4

    def mixed(*words):
        return mix()(images.clone(), target, *words)[0]

    base = mixed(42, 0, 0, 0)
    torch.rand(9), np.random.rand(9)
    assert torch.equal(base, mixed(42, 0, 0, 0))
    for words in [(43, 0, 0, 0), (42, 1, 0, 0), (42, 0, 1, 0), (42, 0, 0, 1)]:
        assert not torch.equal(base, mixed(*words)), words


def test_evaluation_does_not_depend_on_the_number_of_workers():
    def passes(workers):
        order = EvaluationOrder(len(SOURCE), 7)
        data = EvaluationBatches(SOURCE, evaluation_transform(image_format()), "RGB", order)
        return list(evaluation_loader(data, workers, False))

    assert_same(passes(0), passes(3))
    assert torch.cat([batch.target for batch in passes(0)]).tolist() == [index % 4 for index in range(24)]


def test_what_a_worker_is_given_can_be_sent_to_a_fresh_process():
    data = pickle.loads(pickle.dumps(batches(mixing=mix(), crop_padding=2)))
    key = BatchKey(0, 0, (1, 2))
    assert torch.equal(data[key].images, batches(mixing=mix(), crop_padding=2)[key].images)


def test_seeds_are_well_mixed_and_stable():
    assert seed_words(42, 1, 0, 0, count=3) == [3329053876, 3645748255, 2086902591]
    assert len({tuple(seed_words(42, 1, epoch, index)) for epoch in range(30) for index in range(100)}) == 3000
    seed_everything(1, 2)
    first = (torch.rand(1).item(), np.random.rand())
    seed_cpu(1, 2)
    assert first == (torch.rand(1).item(), np.random.rand())
