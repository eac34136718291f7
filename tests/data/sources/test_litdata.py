"""Data sets that litdata has optimised: by position, in several processes, without pickle."""

import json
import pickle
import shutil

import numpy as np
import pytest
from torch.utils.data import DataLoader, Dataset

from sosr_timm.data.sources.catalog import open_source
from sosr_timm.data.sources.litdata_source import as_image
from sosr_timm.data.sources.reader_options import ReaderOptions
from sosr_timm.errors import UserError
from tests.data.images import picture
from tests.data.shards import encoded

pytest.importorskip("litdata")


def write(folder, items, chunk_size=4):
    """What `litdata.optimize` writes, without its processes."""
    from litdata.streaming.writer import BinaryWriter

    folder.mkdir(parents=True)
    writer = BinaryWriter(str(folder), chunk_size=chunk_size)
    for number, item in enumerate(items):
        writer[number] = item
    writer.done()
    writer.merge()
    return folder


def items(count=10, classes=3):
    return [{"image": encoded(number), "label": number % classes} for number in range(count)]


@pytest.fixture(scope="module")
def optimised(tmp_path_factory):
    return write(tmp_path_factory.mktemp("litdata") / "set", items())


def opened(root, split="train", num_classes=3, **keywords):
    return open_source("litdata/", str(root), split, reading=ReaderOptions(num_classes=num_classes, **keywords))


def refusal(root, split="train", **keywords):
    with pytest.raises(UserError) as caught:
        opened(root, split, **keywords)
    assert len(str(caught.value).splitlines()) == 1
    return str(caught.value)


def test_samples_are_read_by_position(optimised):
    source = opened(optimised)
    assert len(source) == 10 and source.info.num_classes == 3 and source.shard_ends().tolist() == [4, 8, 10]
    for index in (9, 0, 4, 3):
        image, label = source.load(index)
        assert np.array_equal(image, picture(index)) and label == index % 3
    assert source.read_labels().tolist() == [index % 3 for index in range(10)]
    assert source.name(3) == f"{optimised} image 3"
    assert len(pickle.dumps(source)) < 5000
    assert np.array_equal(pickle.loads(pickle.dumps(source)).load(7)[0], picture(7))


class Labels(Dataset):
    def __init__(self, source):
        self.source = source

    def __len__(self):
        return len(self.source)

    def __getitem__(self, index):
        return self.source.load(index)[1]


def test_processes_read_after_the_data_set_was_opened(optimised):
    source = opened(optimised)
    source.load(0)
    assert list(DataLoader(Labels(source), batch_size=None, num_workers=2)) == [index % 3 for index in range(10)]


def test_pairs_fields_and_class_names(tmp_path):
    source = opened(write(tmp_path / "pairs", [(encoded(number), number % 2) for number in range(3)]))
    assert [source.load(index)[1] for index in range(3)] == [0, 1, 0]
    folder = write(tmp_path / "named", [{"png": encoded(1), "cls": 1}])
    assert opened(folder, input_key="png", target_key="cls").load(0)[1] == 1
    assert "is the fields png, cls, not image and label; --input-key" in refusal(folder).replace("cls, png", "png, cls")
    (folder / "classes.txt").write_text("ant\nbee\n")
    assert opened(folder, num_classes=None, input_key="png", target_key="cls").info.class_names == ("ant", "bee")


def test_splits(optimised, tmp_path):
    for name in ("train", "val"):
        shutil.copytree(optimised, tmp_path / name)
    assert len(opened(tmp_path, "validation")) == 10
    assert "has no split 'extra'" in refusal(tmp_path, "extra")


def test_images_may_be_pixels():
    import torch

    pixels = np.arange(60, dtype=np.uint8).reshape(4, 5, 3)
    assert np.array_equal(as_image(pixels), pixels)
    assert np.array_equal(as_image(torch.from_numpy(pixels.transpose(2, 0, 1))), pixels)
    with pytest.raises(OSError, match="a str is no image"):
        as_image("x")
    with pytest.raises(OSError, match=r"pixels of shape \(4, 5, 7\)"):
        as_image(np.zeros((4, 5, 7), np.uint8))


def test_what_cannot_be_read_is_one_line(optimised, tmp_path):
    assert "does not say how many classes" in refusal(optimised, num_classes=None)
    assert "is not local" in refusal("s3://bucket/set")
    assert "holds no data set of litdata" in refusal(tmp_path)
    assert "does not exist" in refusal(tmp_path / "none")
    folder = write(tmp_path / "pickled", [{"image": {1, 2}, "label": 0}])
    assert "stored as pickle, which is not read here" in refusal(folder)
    copied = shutil.copytree(optimised, tmp_path / "copied")
    chunk = sorted(copied.glob("*.bin"))[1]
    chunk.write_bytes(chunk.read_bytes()[:-1])
    assert refusal(copied).startswith(f"chunk {chunk} changed since it was written (")
    chunk.unlink()
    assert refusal(copied) == f"chunk {chunk} does not exist"
    index = json.loads((optimised / "index.json").read_text())
    for content in ("", "[]", json.dumps({**index, "chunks": []}), json.dumps({**index, "config": {}})):
        (copied / "index.json").write_text(content)
        assert refusal(copied)
    folder = write(tmp_path / "labels", [{"image": encoded(0), "label": number} for number in (0, 7)])
    with pytest.raises(OSError, match="label 7 is none of 3 classes"):
        opened(folder).load(1)
    with pytest.raises(UserError, match="image 1: litdata: label 7 is none of 3 classes"):
        opened(folder).read_labels()
