"""Batches: a pure function of seed, epoch and image; boxes that stay on their objects."""

import numpy as np
import pytest
import torch
from PIL import Image

from sosr_timm.data.order.order import BatchKey, EvaluationOrder
from sosr_timm.detection.batches import (
    DetectionBatches,
    DetectionEvaluation,
    Resize,
    make_augmentation,
    padded,
)
from sosr_timm.detection.voc import open_scenes

TRAIN = ("2007_trainval", "2012_trainval")


def batches(voc, name="flip", resize=(64, 64), **options) -> DetectionBatches:
    return DetectionBatches(
        open_scenes(voc, TRAIN), Resize(*resize), make_augmentation(name, (0.5, 0.5, 0.5)), "RGB", seed=3, **options
    )


def same(one, other) -> bool:
    tensors = zip((one.images, *one.target.boxes, *one.target.labels), _parts(other), strict=True)
    return one.target.sizes == other.target.sizes and all(torch.equal(a, b) for a, b in tensors)


def _parts(batch):
    return (batch.images, *batch.target.boxes, *batch.target.labels)


@pytest.mark.parametrize("name", ["flip", "ssd"])
def test_a_sample_depends_on_seed_epoch_and_image_alone(voc, name):
    data = batches(voc, name)
    first = data[BatchKey(1, 0, (2, 5))]
    torch.manual_seed(99)
    data[BatchKey(0, 0, (1, 7))]
    assert same(first, data[BatchKey(1, 0, (2, 5))])
    # In another place of another batch it is the same image with the same boxes.
    swapped = data[BatchKey(1, 3, (5, 2))]
    (height, width) = first.target.sizes[0]
    assert torch.equal(first.images[0, :, :height, :width], swapped.images[1, :, :height, :width])
    assert torch.equal(first.target.boxes[0], swapped.target.boxes[1])
    other_epochs = [data[BatchKey(epoch, 0, (2,))] for epoch in range(2, 8)]
    assert any(not torch.equal(first.target.boxes[0], batch.target.boxes[0]) for batch in other_epochs)


def marked(box, side=(40, 60)) -> Image.Image:
    """A black image with a white box."""
    pixels = np.zeros((*side, 3), np.uint8)
    pixels[box[1] : box[3], box[0] : box[2]] = 255
    return Image.fromarray(pixels)


@pytest.mark.parametrize("name", ["flip", "ssd", "none"])
def test_boxes_stay_on_their_objects(voc, name):
    data = batches(voc, name, resize=(120, 400))
    scene = data.data.scenes[0]
    box = (10, 5, 30, 25)
    scene = type(scene)("x", scene.image, 60, 40, np.float32([box]), np.array([1]), np.array([False]))
    inside = []
    for seed in range(12):
        torch.manual_seed(seed)
        image, boxes, labels = data.augmented(marked(box), scene)
        assert len(boxes) == len(labels) and (labels == 1).all()
        for left, top, right, bottom in boxes:
            crop = image[:, int(top) + 2 : int(bottom) - 2, int(left) + 2 : int(right) - 2]
            inside.append((crop.mean() / image.max()).item())
    assert len(inside) >= 8 and min(inside) > 0.9


def test_a_flip_mirrors_the_box(voc):
    data = batches(voc, resize=(40, 60))
    scene = data.data.scenes[0]
    scene = type(scene)("x", scene.image, 60, 40, np.float32([[10, 5, 30, 25]]), np.array([1]), np.array([False]))
    found = set()
    for seed in range(10):
        torch.manual_seed(seed)
        box = data.augmented(marked((10, 5, 30, 25)), scene)[1][0]
        found.add(tuple(box.tolist()))
    assert found == {(10, 5, 30, 25), (30, 5, 50, 25)}


@pytest.mark.parametrize(
    ("size", "sides", "expected"),
    [((500, 375), (608, 1024), (811, 608)), ((1000, 400), (608, 1024), (1024, 410)), ((30, 60), (15, 99), (15, 30))],
)
def test_the_shorter_side_is_as_asked_unless_the_longer_one_would_be_too_long(size, sides, expected):
    assert Resize(*sides).size(*size) == expected


def test_boxes_are_scaled_with_the_image():
    image, boxes = Resize(80, 200)(Image.new("RGB", (60, 40)), np.float32([[10, 5, 30, 40]]))
    assert image.size == (120, 80) and boxes.tolist() == [[20, 10, 60, 80]]


def test_images_are_padded_to_the_largest():
    batch = padded([torch.ones(3, 4, 9), torch.ones(3, 7, 2)])
    assert batch.shape == (2, 3, 7, 9) and batch.sum() == 3 * (4 * 9 + 7 * 2)
    assert batch[1, :, :7, :2].min() == 1


def test_difficult_objects_are_trained_on_only_if_asked(voc):
    scenes = open_scenes(voc, TRAIN).scenes
    index = next(i for i, scene in enumerate(scenes) if scene.difficult.any())
    count = len(scenes[index].labels), int((~scenes[index].difficult).sum())
    key = BatchKey(0, 0, (index,))
    assert len(batches(voc)[key].target.labels[0]) == count[1]
    assert len(batches(voc, difficult=True)[key].target.labels[0]) == count[0]


def test_an_unreadable_image_is_named_and_replaced(voc, tmp_path):
    import shutil

    copy = shutil.copytree(voc, tmp_path / "copy")
    path = copy / "VOCdevkit/VOC2007/JPEGImages/000002.jpg"
    path.write_bytes(path.read_bytes()[:200])
    Image.new("RGB", (9, 9)).save(copy / "VOCdevkit/VOC2007/JPEGImages/000003.jpg")
    data = batches(copy)
    batch = data[BatchKey(0, 0, (0, 1))]
    assert [bad.name for bad in batch.unreadable] == [str(path)]
    assert torch.equal(batch.images[0], batch.images[1])
    assert "9 x 9 pixels, its annotation says" in data[BatchKey(0, 0, (2, 0))].unreadable[0].reason
    nothing = data[BatchKey(0, 0, (1, 2))]
    assert len(nothing.images) == 0 and len(nothing.unreadable) == 2
    order = EvaluationOrder(9, 2)
    shown = DetectionEvaluation(data.data, data.resize, "RGB", order)[0]
    assert len(shown.images) == 0 and shown.unreadable[0].name == str(path)
