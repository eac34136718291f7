"""Long-tailed training sets and noisy labels: the published sizes, the stated distribution, one draw for a seed."""

import numpy as np
import pytest

from sosr_timm.data.loaders.device_loader import arrays_of
from sosr_timm.data.sources.long_tail_and_noise import (
    labels_digest,
    long_tail_indices,
    long_tail_sizes,
    modify_training_set,
    noisy_labels,
)
from sosr_timm.data.sources.source import SourceInfo, spread
from sosr_timm.errors import UserError
from tests.data.images import array_source, class_folders
from tests.data.sources.test_source import Named

BALANCED = np.arange(1000) % 10


@pytest.mark.parametrize(
    ("ratio", "sizes"),
    [
        (1 / 50, [5000, 3237, 2096, 1357, 878, 568, 368, 238, 154, 100]),
        (0.02, [5000, 3237, 2096, 1357, 878, 568, 368, 238, 154, 100]),
        (1 / 100, [5000, 2997, 1796, 1077, 645, 387, 232, 139, 83, 50]),
        (0.01, [5000, 2997, 1796, 1077, 645, 387, 232, 139, 83, 50]),
        (1.0, [5000] * 10),
    ],
)
def test_class_sizes_of_cifar10_are_the_published_ones(ratio, sizes):
    assert long_tail_sizes(5000, 10, ratio) == sizes


def test_the_last_class_is_not_rounded_down_below_its_share():
    for largest in (500, 1000, 1300, 5000, 6000):
        for divisor in (2, 5, 10, 20, 50, 100):
            assert long_tail_sizes(largest, 100, 1 / divisor)[-1] == largest // divisor


def test_a_long_tail_keeps_images_of_their_own_classes():
    labels = np.random.default_rng(0).permutation(BALANCED)
    kept = long_tail_indices(labels, 10, 0.1, seed=3)
    assert (np.diff(kept) > 0).all()
    assert np.bincount(labels[kept]).tolist() == long_tail_sizes(100, 10, 0.1)
    assert set(kept) > set(np.flatnonzero(labels == 0))


def test_the_draw_is_the_seeds():
    for draw in (
        lambda seed: long_tail_indices(BALANCED, 10, 0.1, seed),
        lambda seed: noisy_labels(BALANCED, 10, 0.4, seed),
    ):
        assert np.array_equal(draw(1), draw(1))
        assert not np.array_equal(draw(1), draw(2))


def test_the_smallest_class_sets_the_scale():
    labels = np.repeat([0, 1, 2], [50, 40, 100])
    assert np.bincount(labels[long_tail_indices(labels, 3, 0.25, 0)]).tolist() == [40, 20, 10]


def test_noise_is_symmetric_over_the_other_classes():
    count, rate, classes = 200_000, 0.4, 5
    labels = np.arange(count) % classes
    noisy = noisy_labels(labels, classes, rate, seed=0)
    moved = noisy[noisy != labels], labels[noisy != labels]
    assert abs(len(moved[0]) / count - rate) < 4 * (rate * (1 - rate) / count) ** 0.5
    table = np.zeros((classes, classes))
    np.add.at(table, (moved[1], moved[0]), 1)
    each = count * rate / (classes * (classes - 1))
    assert not table.diagonal().any()
    assert np.abs(table[~np.eye(classes, dtype=bool)] - each).max() < 4.5 * each**0.5


def test_noise_of_none_and_of_all():
    assert np.array_equal(noisy_labels(BALANCED, 10, 0.0, 0), BALANCED)
    assert (noisy_labels(BALANCED, 10, 1.0, 0) != BALANCED).all()


def test_neither_leaves_the_source_alone():
    source = array_source()
    assert modify_training_set(source, 0, None, None) is source


def test_both_over_a_set_in_memory():
    source = array_source(count=400)
    worse = modify_training_set(source, 7, 0.1, 0.5)
    origin = worse.info.origin
    assert origin["class_sizes"] == long_tail_sizes(100, 4, 0.1) and len(worse) == sum(origin["class_sizes"])
    clean = source.labels[worse.indices]
    assert origin["labels_exchanged"] == (worse.labels != clean).sum() > 0
    assert origin["labels_sha256"] == labels_digest(worse.indices, worse.labels)
    assert source.info.origin == {}, "the whole set is as it was"
    images, labels = arrays_of(worse)
    assert np.array_equal(images, source.images[worse.indices]) and np.array_equal(labels, worse.labels)
    for index in (0, 5, len(worse) - 1):
        image, label = worse.load(index)
        assert np.array_equal(image, images[index]) and label == labels[index]
        assert worse.name(index) == source.name(worse.indices[index])
    assert np.array_equal(worse.read_labels(), worse.labels)


def test_over_a_folder_without_reading_an_image(tmp_path):
    from sosr_timm.data.sources.catalog import open_source

    root = class_folders(tmp_path, classes=("a", "b", "c"), each=8)
    source = open_source("", str(root), "train")
    source.load = None
    worse = modify_training_set(source, 0, 0.5, 0.5)
    assert worse.info.origin["class_sizes"] == [8, 5, 4]
    assert arrays_of(worse) is None
    assert modify_training_set(spread(source, 12), 0, None, 0.0).labels.tolist() == [0] * 4 + [1] * 4 + [2] * 4


def test_fingerprints_tell_labels_apart():
    source = array_source(count=400)
    worse = [modify_training_set(source, seed, None, rate) for seed, rate in ((0, 0.1), (0, 0.2), (1, 0.1))]
    assert len({one.fingerprint() for one in (source, *worse)}) == 4


@pytest.mark.parametrize(
    ("long_tail", "noise", "said"),
    [
        (0.0, None, "--long-tail 0.0: the share of the first class's images that the last one keeps, in (0, 1]"),
        (100.0, None, "--long-tail 100.0: the share"),
        (float("nan"), None, "--long-tail nan: the share"),
        (0.1, None, "--long-tail 0.1: class 3 would keep no image (a class has 6); at least 0.17"),
        (None, 1.5, "--label-noise 1.5: a share of the training images, in [0, 1]"),
        (None, -0.1, "--label-noise -0.1: a share"),
        (None, float("nan"), "--label-noise nan: a share"),
    ],
)
def test_shares_out_of_range(long_tail, noise, said):
    with pytest.raises(UserError) as caught:
        modify_training_set(array_source(), 0, long_tail, noise)
    assert str(caught.value).startswith(said)


def test_sets_that_have_no_tail():
    with pytest.raises(UserError, match="need a data set that states its classes"):
        modify_training_set(Named("a"), 0, 0.5, None)
    one = array_source(classes=1)
    with pytest.raises(UserError, match="there is no other label"):
        modify_training_set(one, 0, None, 0.5)
    gap = array_source()
    gap.info = SourceInfo(num_classes=5)
    with pytest.raises(UserError, match="class 4 of 5 has 0 training images"):
        modify_training_set(gap, 0, 0.5, None)
