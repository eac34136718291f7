"""Images that cannot be read: training goes on and names them, evaluation reports them."""

import warnings
import zlib
from pathlib import Path

import pytest
import torch
from PIL import Image

from sosr_timm.data.loaders.worker_loader import EvaluationBatches, TrainingBatches, training_loader
from sosr_timm.data.order.order import BatchKey, EvaluationOrder, TrainingOrder, TrainingSampler
from sosr_timm.data.sources.catalog import open_source
from sosr_timm.data.transforms.image import evaluation_transform, training_transform
from sosr_timm.data.transforms.mixing import Mixing
from tests.data.images import class_folders, image_format, picture, write_picture

DAMAGES = ["truncated jpg", "truncated png", "empty", "text", "missing", "bomb", "dangling link", "folder"]


def damage(path, kind):
    """Make an image of a set unreadable after the set was opened."""
    content = path.read_bytes()
    path.unlink()
    if kind == "truncated jpg":
        picture(size=(64, 64)).save(path, "JPEG")
        path.write_bytes(path.read_bytes()[:-900])
    elif kind == "truncated png":
        path.write_bytes(content[: len(content) // 2])
    elif kind == "empty":
        path.write_bytes(b"")
    elif kind == "text":
        path.write_text("<html>404 not found</html>")
    elif kind == "bomb":
        # The header of a PNG file claims 400 million pixels.
        header = b"IHDR" + (20_000).to_bytes(4, "big") * 2 + content[24:29]
        path.write_bytes(content[:12] + header + zlib.crc32(header).to_bytes(4, "big") + content[33:])
    elif kind == "dangling link":
        path.symlink_to("nowhere.png")
    elif kind == "folder":
        path.mkdir()


@pytest.fixture
def source(tmp_path):
    return open_source("", str(class_folders(tmp_path, classes=("a", "b"), splits=("train",), each=4)), "train")


def damaged(source, *indices, kind="text"):
    for index in indices:
        damage(Path(source.name(index)), kind)


def training(source, mixing=None):
    return TrainingBatches(source, training_transform(image_format(), 1), "RGB", 42, 0, mixing)


def evaluation(source, batch_size=4):
    order = EvaluationOrder(len(source), batch_size)
    return EvaluationBatches(source, evaluation_transform(image_format()), "RGB", order)


@pytest.mark.parametrize("kind", DAMAGES)
def test_training_names_the_image_and_goes_on(source, kind):
    whole = training(source)[BatchKey(0, 3, (0, 1, 2, 7))]
    damaged(source, 1, kind=kind)
    batch = training(source)[BatchKey(0, 3, (0, 1, 2, 7))]
    assert batch.position == 3 and batch.images.shape == whole.images.shape
    (bad,) = batch.unreadable
    assert (bad.index, bad.name) == (1, source.name(1))
    assert bad.reason and len(bad.reason.splitlines()) == 1
    assert kind != "bomb" or "decompression bomb" in bad.reason
    assert torch.equal(batch.images[[0, 2, 3]], whole.images[[0, 2, 3]]), "the others stay as they are"
    assert torch.equal(batch.images[1], whole.images[2]) and batch.target.tolist() == [0, 0, 0, 1]


@pytest.mark.parametrize("kind", DAMAGES)
def test_evaluation_reports_the_image(source, kind):
    damaged(source, 5, kind=kind)
    batches = evaluation(source)
    assert batches[0].unreadable == () and len(batches[0].images) == 4
    (bad,) = batches[1].unreadable
    assert (bad.index, bad.name) == (5, source.name(5)) and bad.reason
    assert len(batches[1].images) == len(batches[1].target) == 0


@pytest.mark.parametrize(
    ("bad", "order"),
    [
        ((0,), [1, 1, 2, 3]),
        ((0, 1), [2, 2, 2, 3]),
        ((1, 2), [0, 3, 3, 3]),
        ((3,), [0, 1, 2, 0]),
        ((2, 3), [0, 1, 0, 0]),
        ((0, 3), [1, 1, 2, 1]),
        ((0, 1, 3), [2, 2, 2, 2]),
    ],
)
def test_the_next_readable_image_of_the_batch_takes_the_place(source, bad, order):
    whole = training(source)[BatchKey(0, 0, (4, 1, 6, 3))]
    damaged(source, *((4, 1, 6, 3)[place] for place in bad))
    batch = training(source)[BatchKey(0, 0, (4, 1, 6, 3))]
    assert torch.equal(batch.images, whole.images[order])
    assert torch.equal(batch.target, whole.target[order])
    assert [entry.index for entry in batch.unreadable] == [(4, 1, 6, 3)[place] for place in bad]


@pytest.mark.parametrize("mode", ["batch", "pair", "elem"])
def test_a_mixed_batch_stays_even(source, mode):
    mixing = Mixing(mixup_alpha=0.8, cutmix_alpha=1.0, num_classes=2, label_smoothing=0.0, mode=mode)
    damaged(source, 2)
    batch = training(source, mixing)[BatchKey(0, 0, (0, 2, 5, 7))]
    assert batch.images.shape == (4, 3, 8, 8) and batch.target.shape == (4, 2)
    assert torch.allclose(batch.target.sum(1), torch.ones(4))
    assert len(batch.unreadable) == 1


@pytest.mark.parametrize("mixing", [None, Mixing(mixup_alpha=1.0, num_classes=2)], ids=["plain", "mixed"])
def test_a_batch_of_unreadable_images_is_empty_and_names_them_all(source, mixing):
    damaged(source, 0, 1, 2)
    batch = training(source, mixing)[BatchKey(0, 0, (0, 1, 2))]
    assert len(batch.images) == len(batch.target) == 0
    assert [bad.index for bad in batch.unreadable] == [0, 1, 2]


def test_names_come_out_of_loader_processes(source):
    damaged(source, 3, kind="empty")
    order = TrainingOrder(len(source), 4)
    batches = list(training_loader(training(source), TrainingSampler(order, 0, 0, 1), 2, False))
    found = [bad for batch in batches for bad in batch.unreadable]
    assert [(bad.index, bad.name) for bad in found] == [(3, source.name(3))]
    assert all(len(batch.images) == 4 for batch in batches)


def test_an_image_that_pillow_only_warns_of_is_read(tmp_path, monkeypatch):
    write_picture(tmp_path / "train" / "a" / "0.png", size=(40, 30))
    monkeypatch.setattr(Image, "MAX_IMAGE_PIXELS", 1000)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", Image.DecompressionBombWarning)
        assert training(open_source("", str(tmp_path), "train"))[BatchKey(0, 0, (0,))].unreadable == ()


def test_an_error_of_the_transform_is_no_unreadable_image(source):
    def broken(image):
        raise ZeroDivisionError

    with pytest.raises(ZeroDivisionError):
        TrainingBatches(source, broken, "RGB", 42, 0, None)[BatchKey(0, 0, (0,))]
    with pytest.raises(ZeroDivisionError):
        EvaluationBatches(source, broken, "RGB", EvaluationOrder(8, 4))[0]
