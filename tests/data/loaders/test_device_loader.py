"""The device's batches: bit for bit in evaluation, as the per-image transforms distribute them in training."""

import numpy as np
import pytest
import torch
from timm.data.random_erasing import RandomErasing

from sosr_timm.data.loaders.batch import Batch
from sosr_timm.data.loaders.device_loader import (
    DeviceEvaluationLoader,
    DeviceImages,
    DeviceTrainingBatches,
    arrays_of,
    choose_device,
    why_not,
)
from sosr_timm.data.loaders.worker_loader import EvaluationBatches
from sosr_timm.data.order.order import EvaluationOrder, TrainingOrder, TrainingSampler
from sosr_timm.data.sources.catalog import open_source
from sosr_timm.data.sources.source import ArraySource, SourceInfo, spread
from sosr_timm.data.transforms.batch import crop_and_flip, cutout, draw_epoch, erase, normalise, pad
from sosr_timm.data.transforms.image import Cutout, ImageFormat, evaluation_transform
from sosr_timm.data.transforms.mixing import Mixing
from sosr_timm.errors import UserError
from sosr_timm.options.validate import EvaluationDataOptions
from sosr_timm.training.evaluate import to_device
from sosr_timm.validation.loader import make_loader

CPU = torch.device("cpu")
GREY = ImageFormat(1, 8, 8, (0.3,), (0.4,), "bilinear", 1.0, "center", "L")
COLOUR = ImageFormat(3, 6, 5, (0.1, 0.5, 0.7), (0.2, 0.3, 0.4), "bilinear", 1.0, "center", "RGB")
DIGITS = open_source("digits", None, "train")


def colour(count: int = 40) -> ArraySource:
    images = np.random.default_rng(0).integers(0, 256, (count, 6, 5, 3), dtype=np.uint8)
    return ArraySource(images, np.arange(count) % 3, SourceInfo(3, 3), "colour")


def training(source=DIGITS, form=GREY, rank=0, **given) -> DeviceTrainingBatches:
    arguments = {"hflip": 0.5, "vflip": 0.2, "erase_probability": 0.5, "erase_mode": "const", "mixing": None, **given}
    return DeviceTrainingBatches(
        source, DeviceImages(source, form, CPU, 2), 7, rank, arguments.pop("mixing"), **arguments
    )


@pytest.mark.parametrize(("source", "form"), [(DIGITS, GREY), (colour(), COLOUR)], ids=["grey", "colour"])
def test_evaluation_is_bit_for_bit_that_of_the_images_one_by_one(source, form):
    order = EvaluationOrder(len(source), 16)
    expected = EvaluationBatches(source, evaluation_transform(form), form.image_mode, order)
    for batch in DeviceEvaluationLoader(DeviceImages(source, form, CPU), order):
        one_by_one = expected[batch.position]
        assert torch.equal(batch.images, one_by_one.images)
        assert torch.equal(batch.target, one_by_one.target)
        assert batch.images.is_contiguous()


def test_grey_images_for_a_network_of_three_channels():
    form = ImageFormat(3, 8, 8, (0.3, 0.4, 0.5), (0.4, 0.4, 0.4), "bilinear", 1.0, "center", "RGB")
    order = EvaluationOrder(20, 20)
    source = spread(DIGITS, 20)
    (batch,) = DeviceEvaluationLoader(DeviceImages(source, form, CPU), order)
    assert torch.equal(batch.images, EvaluationBatches(source, evaluation_transform(form), "RGB", order)[0].images)


def test_crops_and_flips_are_what_a_loop_over_the_draws_gives():
    images = torch.from_numpy(colour().images)
    draws = draw_epoch(40, 3, 1, CPU)
    index = torch.tensor([5, 0, 39, 17])
    found = crop_and_flip(pad(images, 2), index, (6, 5), draws.rows(index), 0.5, 0.4)
    for row, sample in enumerate(index.tolist()):
        padded = np.zeros((10, 9, 3), dtype=np.uint8)
        padded[2:8, 2:7] = images[sample]
        top, left, hflip, vflip, *_ = draws.uniform[sample].tolist()
        crop = padded[int(top * 5) : int(top * 5) + 6, int(left * 5) : int(left * 5) + 5]
        crop = crop[:, ::-1] if hflip < 0.5 else crop
        crop = crop[::-1] if vflip < 0.4 else crop
        assert np.array_equal(found[row].permute(1, 2, 0).numpy(), crop)


def test_offsets_and_flips_are_uniform():
    count = 50_000
    images = torch.zeros(1, 4, 4, 1, dtype=torch.uint8)
    images[0, 1, 1, 0] = 255
    crops = crop_and_flip(
        pad(images, 1), torch.zeros(count, dtype=torch.int64), (4, 4), draw_epoch(count, 0, 0, CPU), 0.5, 0.0
    )
    # The marked pixel lands in rows 0 to 2; in columns 0 to 2, or flipped in 1 to 3.
    seen = crops.float().mean(dim=0)[0] / 255
    rows, columns = seen.sum(dim=1), seen.sum(dim=0)
    error = 4 * (0.25 / count) ** 0.5
    assert torch.allclose(rows, torch.tensor([1, 1, 1, 0]) / 3, atol=error)
    assert torch.allclose(columns, torch.tensor([1, 2, 2, 1]) / 6, atol=error)


@pytest.mark.parametrize("size", [(8, 8), (28, 28), (12, 20)])
def test_erased_boxes_are_distributed_as_timms(size):
    count = 6000
    fill = torch.full((), 9.0)
    ours = erase(torch.zeros(count, 1, *size), draw_epoch(count, 0, 0, CPU), 0.6, fill)[:, 0] == 9
    theirs = torch.zeros(count, 1, *size)
    erasing = RandomErasing(0.6, mode="const", device="cpu")
    torch.manual_seed(0)
    for image in theirs:
        image += 1
        erasing(image)
    theirs = theirs[:, 0] == 0
    for figure in (
        lambda mask: mask.flatten(1).any(dim=1).float(),  # erased at all
        lambda mask: mask.flatten(1).float().mean(dim=1),  # share of the area
        lambda mask: mask.any(dim=2).float().mean(dim=1),  # share of the height
        lambda mask: mask[:, size[0] // 2, size[1] // 2].float(),  # the centre
        lambda mask: mask[:, 0, 0].float(),  # a corner
    ):
        a, b = figure(ours), figure(theirs)
        error = 4.5 * ((a.var() + b.var()) / count) ** 0.5
        assert abs(float(a.mean() - b.mean())) <= float(error)
    one = ours[ours.flatten(1).any(dim=1)][0]
    assert one.sum() == one.any(dim=1).sum() * one.any(dim=0).sum(), "what is erased is a box"


@pytest.mark.parametrize("mode", ["const", "rand", "pixel"])
def test_what_stands_in_the_box(mode):
    batches = training(erase_probability=1.0, erase_mode=mode, hflip=0.0, vflip=0.0)
    images = normalise(torch.zeros(64, 1, 8, 8, dtype=torch.uint8), torch.zeros(1, 1, 1), torch.ones(1, 1, 1)) - 50
    filled = erase(images, draw_epoch(64, 1, 1, CPU), 1.0, batches._fill(images, 0, 0))
    box = filled[filled != -50]
    assert box.numel() > 200
    if mode == "const":
        assert (box == 0).all()
    else:
        assert abs(box.std() - 1) < 0.3
        assert (len(box.unique()) == box.numel()) == (mode == "pixel")


def hole_of_the_paper(row: int, column: int, side: int, height: int, width: int) -> np.ndarray:
    """Which pixels a square around a pixel covers, clipped as in the paper."""
    hole = np.zeros((height, width), dtype=bool)
    rows = np.clip([row - side // 2, row - side // 2 + side], 0, height)
    columns = np.clip([column - side // 2, column - side // 2 + side], 0, width)
    hole[rows[0] : rows[1], columns[0] : columns[1]] = True
    return hole


@pytest.mark.parametrize(("size", "side"), [((9, 12), 4), ((9, 12), 5), ((6, 6), 20), ((8, 8), 1)])
def test_cut_out_squares_are_those_of_the_paper(size, side):
    centres = draw_epoch(50, 3, 1, CPU).hole
    found = cutout(torch.ones(50, 2, *size), centres, side)
    for image, (row, column) in zip(found, centres.tolist(), strict=True):
        expected = ~hole_of_the_paper(int(row * size[0]), int(column * size[1]), side, *size)
        assert np.array_equal(image[0].numpy() == 1, expected) and torch.equal(image[0], image[1])


def test_cutout_of_batches_is_distributed_as_that_of_images_one_by_one():
    count, size, side = 6000, (8, 10), 4
    ours = cutout(torch.ones(count, 1, *size), draw_epoch(count, 0, 0, CPU).hole, side)[:, 0] == 0
    torch.manual_seed(0)
    one_by_one = Cutout(side)
    theirs = torch.stack([one_by_one(torch.ones(1, *size))[0] for _ in range(count)]) == 0
    for masks in (ours, theirs):
        # Every pixel is the centre equally often, so the exact share of images that lose a pixel can be counted.
        holes = [hole_of_the_paper(row, column, side, *size) for row in range(8) for column in range(10)]
        expected = torch.from_numpy(np.mean(holes, axis=0))
        error = 4.5 * (expected * (1 - expected) / count).sqrt()
        assert ((masks.double().mean(dim=0) - expected).abs() <= error).all()
    areas = [masks.flatten(1).sum(dim=1).double() for masks in (ours, theirs)]
    error = 4.5 * ((areas[0].var() + areas[1].var()) / count) ** 0.5
    assert abs(areas[0].mean() - areas[1].mean()) <= error


def test_cutout_comes_last_and_belongs_to_the_sample():
    one, again = (first_batch(training(cutout_side=3, erase_mode="pixel"), 64) for _ in range(2))
    assert torch.equal(one.images, again.images)
    assert (one.images == 0).flatten(1).any(dim=1).all(), "every image has a hole, at least a corner of one"
    without = first_batch(training(erase_mode="pixel"), 64)
    assert torch.equal(one.images[one.images != 0], without.images[one.images != 0])


def first_batch(of: DeviceTrainingBatches, size: int) -> Batch:
    sampler = TrainingSampler(TrainingOrder(len(of.source), size, seed=7), 0, 0, 1)
    return next(of.batches(sampler, 0, False))


@pytest.mark.parametrize(
    "mixing", [None, Mixing(mixup_alpha=0.5, cutmix_alpha=1.0, num_classes=3, label_smoothing=0.0)]
)
def test_channels_last_batches_hold_the_same_numbers(mixing):
    given = {"hflip": 0.5, "vflip": 0.2, "erase_probability": 0.5, "erase_mode": "pixel", "cutout_side": 3}
    found = []
    for channels_last in (False, True):
        images = DeviceImages(colour(), COLOUR, CPU, 2, channels_last)
        batch = first_batch(DeviceTrainingBatches(colour(), images, 7, 0, mixing, **given), 8)
        (of_evaluation, *_) = DeviceEvaluationLoader(images, EvaluationOrder(40, 8))
        found.append((batch.images, of_evaluation.images))
    for plain, last in zip(*found, strict=True):
        assert torch.equal(plain, last)
        assert plain.is_contiguous() and last.is_contiguous(memory_format=torch.channels_last)
        assert to_device(last, CPU, channels_last=True, dtype=last.dtype).data_ptr() == last.data_ptr(), (
            "the loop copies nothing"
        )


def stream(world: int = 1, epoch: int = 0, batch: int = 0, **given) -> list:
    """What each step's samples look like, over all processes, and the batches of the first process."""
    parts = []
    for rank in range(world):
        order = TrainingOrder(len(DIGITS), 64 // world, world, rank, seed=7)
        parts.append(list(training(rank=rank, **given).batches(TrainingSampler(order, epoch, batch, 2), 0, False)))
    return [
        {tuple(image.flatten().tolist()) for part in step for image in part.images} for step in zip(*parts, strict=True)
    ], parts[0]


def test_a_step_has_the_same_augmented_images_for_any_number_of_processes():
    one, batches = stream(1)
    assert one == stream(2)[0] == stream(4)[0]
    assert one[0] != one[22], "another epoch, another augmentation"
    assert len(batches) == 44


def test_training_can_start_anywhere():
    mixing = Mixing(mixup_alpha=0.5, cutmix_alpha=1.0, num_classes=10, label_smoothing=0.0)
    _, straight = stream(mixing=mixing, erase_mode="pixel")
    _, later = stream(epoch=1, batch=5, mixing=mixing, erase_mode="pixel")
    assert len(later) == len(straight) - 27
    for first, second in zip(straight[27:], later, strict=True):
        assert torch.equal(first.images, second.images) and torch.equal(first.target, second.target)
        assert first.target.shape == (64, 10)


def test_objections():
    assert why_not(DIGITS, GREY) is None
    assert why_not(spread(DIGITS, 10), GREY) is None
    assert "resized" in why_not(DIGITS, COLOUR)
    assert "colour" in why_not(colour(), ImageFormat(1, 6, 5, (0.1,), (0.1,), "bilinear", 1.0, "center", "L"))
    assert arrays_of(spread(DIGITS, 10))[1].shape == (10,)


@pytest.mark.parametrize(
    ("loader", "no_prefetcher", "objection", "expected"),
    [
        ("auto", False, None, True),
        ("auto", False, "its images are files", False),
        ("auto", True, None, False),
        ("workers", False, None, False),
        ("device", False, None, True),
        ("device", False, "its images are files", "--loader device: its images are files"),
        ("device", True, None, "--loader device contradicts --no-prefetcher"),
    ],
)
def test_the_choice_of_the_device(loader, no_prefetcher, objection, expected):
    if isinstance(expected, bool):
        assert choose_device(loader, no_prefetcher, DIGITS, objection) == expected
        return
    with pytest.raises(UserError) as caught:
        choose_device(loader, no_prefetcher, DIGITS, objection)
    assert str(caught.value) == expected


def test_large_images_are_kept_on_the_device_only_where_that_is_asked_for(monkeypatch):
    monkeypatch.setattr("sosr_timm.data.loaders.device_loader.LARGEST", 1000)
    assert not choose_device("auto", False, DIGITS, None) and choose_device("device", False, DIGITS, None)


@pytest.mark.parametrize(("loader", "expected"), [("auto", False), ("device", None)])
def test_an_evaluation_follows_the_same_rule(loader, expected):
    options = EvaluationDataOptions(loader=loader, no_prefetcher=True)
    order = EvaluationOrder(len(DIGITS), 64)
    if expected is None:
        with pytest.raises(UserError, match="--loader device contradicts --no-prefetcher"):
            make_loader(DIGITS, GREY, order, CPU, options, 0)
    else:
        assert not isinstance(make_loader(DIGITS, GREY, order, CPU, options, 0), DeviceEvaluationLoader)
