"""Training and evaluation transforms: shape, range and repeatability, on timm's path and on the CIFAR one."""

import numpy as np
import pytest
import torch
from PIL import Image
from timm.data import create_transform

from sosr_timm.data.order.seeding import seed_cpu
from sosr_timm.data.transforms.image import evaluation_transform, training_transform
from tests.data.images import image_format, picture

PLAIN = {"hflip": 0.0, "color_jitter": None, "interpolation": "bilinear"}
AUGMENTATIONS = {
    "plain": {},
    "policy v0": {"auto_augment": "v0"},
    "policy original": {"auto_augment": "original"},
    "rand": {"auto_augment": "rand-m9-mstd0.5-inc1"},
    "augmix": {"auto_augment": "augmix-m5"},
    "three": {"auto_augment": "3a"},
    "erase": {"re_prob": 1.0, "re_mode": "pixel", "re_count": 2},
    "erase to a constant": {"re_prob": 1.0, "re_mode": "const"},
    "grey": {"grayscale_prob": 1.0},
    "blur": {"gaussian_blur_prob": 1.0},
    "flips": {"hflip": 1.0, "vflip": 1.0},
    "cut out": {"cutout_side": 8},
    "none": {"no_aug": True, "cutout_side": 8},
}


@pytest.mark.parametrize("channels", [1, 3])
@pytest.mark.parametrize("crop_padding", [None, 0, 4])
@pytest.mark.parametrize("augmentation", AUGMENTATIONS.values(), ids=AUGMENTATIONS)
def test_every_augmentation_gives_what_the_network_is_fed(augmentation, crop_padding, channels):
    form = image_format(channels, 32, 24)
    transform = training_transform(form, crop_padding, interpolation="random", **augmentation)
    image = picture(size=(40, 36), mode=form.image_mode)
    for draw in range(8):
        seed_cpu(draw)
        tensor = transform(image)
        assert tensor.shape == (channels, 32, 24) and tensor.dtype == torch.float32
        assert tensor.isfinite().all()
        seed_cpu(draw)
        assert torch.equal(tensor, transform(image)), "the same seed, the same image"


@pytest.mark.parametrize("size", [(1, 1), (3, 200), (24, 32), (23, 31), (500, 400)])
@pytest.mark.parametrize("crop_padding", [None, 4])
def test_images_of_any_size_fit(size, crop_padding):
    form = image_format(3, 32, 24)
    assert training_transform(form, crop_padding)(picture(size=size)).shape == (3, 32, 24)
    assert evaluation_transform(form)(picture(size=size)).shape == (3, 32, 24)


@pytest.mark.parametrize("crop_padding", [None, 2])
def test_a_crop_of_a_square_is_a_window_of_the_squashed_image(crop_padding):
    form = image_format(3, 24, 24)
    image = picture(size=(60, 35))
    squashed = normalise(np.asarray(image.resize((32, 32), Image.Resampling.BILINEAR)))
    found, padding = set(), crop_padding or 0
    padded = torch.nn.functional.pad(squashed - normalise(np.zeros((32, 32, 3))), [padding] * 4)
    transform = training_transform(form, crop_padding, resize=32, **{**PLAIN, "color_jitter": 0.4})
    for draw in range(12):
        seed_cpu(draw)
        window = transform(image) - normalise(np.zeros((24, 24, 3)))
        windows = padded.unfold(1, 24, 1).unfold(2, 24, 1)
        places = ((windows - window[:, None, None]).abs().amax(dim=(0, 3, 4)) < 1e-5).nonzero()
        assert len(places) == 1
        found.add(tuple(places[0].tolist()))
    assert len(found) > 8
    with pytest.raises(ValueError, match="resized to 20 pixels, crops of 24"):
        training_transform(form, None, resize=20)


def normalise(pixels):
    form = image_format()
    mean, std = torch.tensor(form.mean)[:, None, None], torch.tensor(form.std)[:, None, None]
    return (torch.from_numpy(pixels.copy()).permute(2, 0, 1) / 255 - mean) / std


def test_a_padded_crop_is_a_shifted_window_of_the_image_in_zeros():
    image = picture(size=(8, 8))
    transform = training_transform(image_format(), 2, **PLAIN)
    padded = np.zeros((12, 12, 3), dtype=np.uint8)
    padded[2:10, 2:10] = np.asarray(image)
    windows = {(y, x): normalise(padded[y : y + 8, x : x + 8]) for y in range(5) for x in range(5)}
    found = set()
    for draw in range(200):
        seed_cpu(draw)
        tensor = transform(image)
        matches = [place for place, window in windows.items() if torch.allclose(tensor, window, atol=1e-6)]
        assert len(matches) == 1
        found.add(matches[0])
    assert len(found) == 25, "every window comes up"


def test_a_padded_crop_has_no_colour_jitter_and_no_resized_crop():
    transform = training_transform(image_format(), 0, hflip=0.0, color_jitter=0.9, scale=(0.1, 0.1), ratio=(2, 2))
    image = picture(size=(8, 8))
    assert torch.allclose(transform(image), normalise(np.asarray(image)), atol=1e-6)


def test_a_padded_crop_resizes_what_has_another_size_without_cutting():
    corners = np.zeros((20, 30, 3), dtype=np.uint8)
    corners[:5, :5] = corners[-5:, -5:] = 255
    tensor = training_transform(image_format(), 0, **PLAIN)(Image.fromarray(corners))
    assert tensor[0, 0, 0] > 2 and tensor[0, -1, -1] > 2 > tensor[0, 0, -1]


def test_no_augmentation_beats_a_padded_crop():
    form = image_format()
    image = picture(size=(8, 8))
    for crop_padding in (None, 4):
        transform = training_transform(form, crop_padding, no_aug=True, color_jitter=0.4)
        for _ in range(5):
            assert torch.allclose(transform(image), normalise(np.asarray(image)), atol=1e-6)


def test_without_padding_the_transform_is_timms():
    form = image_format(3, 16, 16)
    arguments = {"scale": (0.2, 0.9), "hflip": 0.5, "color_jitter": 0.3, "re_prob": 0.5, "interpolation": "random"}
    ours = training_transform(form, None, **arguments)
    theirs = create_transform(form.input_size, is_training=True, mean=form.mean, std=form.std, **arguments)
    for draw in range(10):
        seed_cpu(draw)
        one = ours(picture(draw, (30, 20)))
        seed_cpu(draw)
        assert torch.equal(one, theirs(picture(draw, (30, 20))))


def test_a_colour_jitter_of_nothing_is_left_out_and_changes_nothing():
    form = image_format(3, 16, 16)
    arguments = {"scale": (0.2, 0.9), "hflip": 0.5, "color_jitter": 0.0, "interpolation": "random"}
    ours = training_transform(form, None, **arguments)
    theirs = create_transform(form.input_size, is_training=True, mean=form.mean, std=form.std, **arguments)
    assert len(ours.transforms) == len(theirs.transforms) - 1
    for draw in range(10):
        seed_cpu(draw)
        one = ours(picture(draw, (30, 20)))
        seed_cpu(draw)
        assert torch.equal(one, theirs(picture(draw, (30, 20))))


def test_evaluation_is_timms_and_not_random():
    form = image_format(3, 16, 16)
    theirs = create_transform(form.input_size, mean=form.mean, std=form.std, crop_pct=0.875, interpolation="bilinear")
    image = picture(size=(40, 30))
    assert torch.equal(evaluation_transform(form)(image), theirs(image))
    assert torch.equal(evaluation_transform(form)(image), evaluation_transform(form)(image))


@pytest.mark.parametrize(
    "arguments", [{"auto_augment": "v9"}, {"interpolation": "linear"}, {"re_prob": 1, "re_mode": "x"}]
)
def test_what_timm_does_not_know_is_refused_before_training(arguments):
    with pytest.raises((ValueError, KeyError, AssertionError)):
        training_transform(image_format(), 2, **arguments)


def test_a_negative_padding_is_refused():
    with pytest.raises(ValueError, match="a padding of -1 pixels"):
        training_transform(image_format(), -1)


@pytest.mark.parametrize("policy", ["v0", "rand-m10-n2-inc1", "rand-m0", "rand-m9-n3-mstd100"])
def test_policies_that_posterise_to_zero_bits_go_on(policy):
    image = picture(size=(8, 8))
    transform = training_transform(image_format(), 2, auto_augment=policy)
    for draw in range(300):
        seed_cpu(draw)
        assert transform(image).isfinite().all()


def test_zero_bits_are_a_black_image_and_others_are_timms():
    from timm.data import auto_augment

    from sosr_timm.data.transforms.timm_policies import allow_zero_bits

    policy = auto_augment.rand_augment_transform("rand-m9", {"img_mean": (1, 2, 3)})
    before = {operation.name: operation.aug_fn for operation in policy.ops}
    allow_zero_bits(policy)
    changed = [operation for operation in policy.ops if before[operation.name] is not operation.aug_fn]
    assert [operation.name for operation in changed] == ["Posterize"]
    image = picture()
    assert np.asarray(changed[0].aug_fn(image, 0)).max() == 0
    for bits in range(1, 9):
        assert np.array_equal(changed[0].aug_fn(image, bits), auto_augment.posterize(image, bits))
    assert auto_augment.NAME_TO_OP["Posterize"] is auto_augment.posterize, "timm itself stays as it was"
