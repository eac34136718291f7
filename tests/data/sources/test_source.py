"""Sources: even subsets, names, fingerprints that tell data sets apart."""

import numpy as np
import pytest

from sosr_timm.data.sources.catalog import open_source
from sosr_timm.data.sources.source import ArraySource, ImageSource, PairSource, SourceInfo, spread
from sosr_timm.errors import UserError
from tests.data.images import array_source, class_folders, picture, write_picture


class Named(ImageSource):
    """Names without images."""

    def __init__(self, *names):
        self.names = names

    def __len__(self):
        return len(self.names)

    def load(self, index):
        raise OSError

    def name(self, index):
        return self.names[index]


@pytest.mark.parametrize("count", [1, 2, 5, 23])
def test_a_subset_is_spread_over_the_set(count):
    source = array_source()
    part = spread(source, count)
    assert len(part) == count and part.info is source.info
    names = [source.name(index) for index in range(len(source))]
    chosen = [names.index(part.name(index)) for index in range(count)]
    assert chosen == [index * len(source) // count for index in range(count)]
    for place, index in enumerate(chosen):
        assert np.array_equal(part.load(place)[0], source.load(index)[0])
        assert part.load(place)[1] == source.load(index)[1]


def test_a_subset_of_a_sorted_folder_has_every_class(tmp_path):
    source = open_source("", str(class_folders(tmp_path, classes=("a", "b", "c"), each=4)), "train")
    assert [spread(source, 6).load(index)[1] for index in range(6)] == [0, 0, 1, 1, 2, 2]


def test_all_samples_are_the_source_itself():
    source = array_source()
    assert spread(source, None) is source and spread(source, 24) is source and spread(source, 25) is source


@pytest.mark.parametrize("count", [0, -3])
def test_a_subset_of_nothing_is_refused(count):
    with pytest.raises(UserError, match=f"{count} samples of a split were asked for"):
        spread(array_source(), count)


def test_fingerprints_tell_data_apart(tmp_path):
    source = array_source()
    other_images = ArraySource(255 - source.images, source.labels, SourceInfo(), "x")
    other_labels = ArraySource(source.images, source.labels[::-1], SourceInfo(), "x")
    root = class_folders(tmp_path)
    sources = [source, other_images, other_labels, spread(source, 5), spread(source, 6)]
    sources += [open_source("", str(root), split) for split in ("train", "val")]
    write_picture(root / "train" / "cat" / "new.png")
    sources += [open_source("", str(root), "train")]
    (root / "train" / "cat" / "new.png").rename(root / "train" / "cat" / "renamed.png")
    sources += [open_source("", str(root), "train")]
    sources += [Named("ab", "c"), Named("a", "bc"), Named("abc"), Named("b", "ac"), Named("bad\udcff")]
    assert len({source.fingerprint() for source in sources}) == len(sources)


def test_fingerprints_are_repeatable(tmp_path):
    assert array_source().fingerprint() == array_source().fingerprint()
    root = str(class_folders(tmp_path))
    assert open_source("", root, "train").fingerprint() == open_source("", root, "train").fingerprint()


def test_pairs_of_anyone_are_a_source():
    class Pairs:
        samples = (("one.png", 3), ("two.png", 4))

        def __len__(self):
            return 2

        def __getitem__(self, index):
            return picture(index), np.int64(self.samples[index][1])

    source = PairSource(Pairs(), SourceInfo(num_classes=5), "pairs")
    assert source.name(1) == "two.png" and source.load(1)[1] == 4 and type(source.load(1)[1]) is int
    assert PairSource([(picture(), 0)], SourceInfo(), "pairs").name(0) == "pairs image 0"
