"""Corruptions equal what the published code gave for the same random numbers, and slow loops where it is cheap."""

from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from sosr_timm.data.corruptions import CORRUPTIONS, FORMS, CorruptedSource, corrupt, form_for, functions, open_published
from sosr_timm.data.corruptions import frost as textures
from sosr_timm.data.corruptions.parameters import SEVERITIES
from sosr_timm.data.sources.source import ArraySource, SourceInfo
from sosr_timm.data.transforms.image import ImageFormat
from sosr_timm.errors import UserError

# Every eighth of 8 x 8 pixels that the authors' own code (hendrycks/robustness, with ImageMagick 6.9.11) gave for
# `picture` and the severity as the seed, by form and corruption: (5 severities, 8, 8, 3).
PUBLISHED = np.load(Path(__file__).parents[2] / "fixtures" / "published_corruptions.npz")


def picture(side: int) -> np.ndarray:
    h, w, c = np.ogrid[:side, :side, :3]
    wave = (h * h * (c + 2) + w * w * (5 - c) + 3 * h * w) * 200 // (side * side)
    return np.abs(wave % 510 - 255).astype(np.uint8)


@pytest.fixture(autouse=True)
def without_jpeg_at_the_end(monkeypatch):
    """The fixture holds ImageNet-C's images before they were written as JPEG files."""
    original = functions.through_jpeg
    same = lambda image, quality: image if quality == functions.PUBLISHED_QUALITY else original(image, quality)  # noqa: E731
    monkeypatch.setattr(functions, "through_jpeg", same)


@pytest.mark.parametrize("name", CORRUPTIONS)
@pytest.mark.parametrize(("form", "side"), [("cifar", 32), ("imagenet", 224)])
def test_the_published_code_gave_the_same(form, side, name):
    places = slice(side // 16, None, side // 8)
    for severity in SEVERITIES:
        found = corrupt(picture(side), name, severity, np.random.RandomState(severity), form)[places, places]
        difference = np.abs(found.astype(int) - PUBLISHED[f"{form}/{name}"][severity - 1])
        assert difference.max() <= 1 and difference.mean() < 0.02, severity


def test_glass_by_single_steps():
    """The published loop, with its swap that copies."""
    x = picture(32) / 255
    x = (functions.blurred(x, 0.4) * 255).astype(np.uint8)
    random = np.random.RandomState(5)
    for _ in range(2):
        for h in range(31, 1, -1):
            for w in range(31, 1, -1):
                dx, dy = random.randint(-1, 1, size=2)
                x[h, w] = x[h + dy, w + dx]
    expected = (np.clip(functions.blurred(x / 255, 0.4), 0, 1) * 255).astype(np.uint8)
    assert np.abs(corrupt(picture(32), "glass_blur", 5, np.random.RandomState(5)).astype(int) - expected).max() == 0


def test_motion_by_hand():
    """One white pixel on a line of 5 (radius 2) towards the left: weights e^(-i^2/2) over their sum."""
    x = np.zeros((7, 7, 1))
    x[3, 2] = 1
    weights = np.exp(-(np.arange(5) ** 2) / 2)
    expected = np.floor(255 * weights / weights.sum())
    found = functions.motion_blurred(x, 2, 1, 0)[3, :, 0]
    assert found.tolist() == [expected[2], expected[1], expected[0], 0, 0, 0, 0]


def test_the_tables_are_complete():
    for table in FORMS.values():
        assert list(table) == list(CORRUPTIONS) and all(len(values) == len(SEVERITIES) for values in table.values())
    assert (form_for(32), form_for(64), form_for(224)) == ("cifar", "cifar", "imagenet")


@pytest.mark.parametrize("name", CORRUPTIONS)
@pytest.mark.parametrize("side", [8, 28, 33])
def test_other_sizes(name, side):
    for severity in (1, 5):
        found = corrupt(picture(side), name, severity, np.random.RandomState(0), "cifar")
        assert found.shape == (side, side, 3) and found.dtype == np.uint8


def test_frost_is_enlarged_for_large_images():
    assert min(textures.frost_texture(1, 384, small=False).shape[:2]) == 385
    assert textures.frost_texture(1, 224, small=False).shape == (315, 560, 3)


def test_a_missing_package_is_named(monkeypatch):
    monkeypatch.setattr(textures, "PACKAGE", "no_such_package_of_frost")
    with pytest.raises(UserError, match=r"pip install 'sosr-timm\[analysis\]'"):
        textures.frost_folder()


def test_mistakes_are_named():
    for image, name, severity, form, message in (
        (picture(8), "gausian_noise", 1, "cifar", "unknown corruption 'gausian_noise': did you mean 'gaussian_noise'"),
        (picture(8), "snow", 6, "cifar", "severities 1 to 5"),
        (picture(8), "snow", 1, "mnist", "forms are cifar, imagenet"),
        (picture(8)[:4], "snow", 1, "cifar", "square images"),
    ):
        with pytest.raises(ValueError, match=message):
            corrupt(image, name, severity, np.random.RandomState(0), form)


def source(channels: int = 3) -> ArraySource:
    images = np.stack([picture(16), 255 - picture(16)])
    images = images if channels == 3 else images[..., 0]
    return ArraySource(images, np.array([3, 1]), SourceInfo(num_classes=4, in_chans=channels), "test")


def image_format(side: int = 16, mode: str = "RGB", crop_pct: float = 1.0) -> ImageFormat:
    channels = len(mode)
    return ImageFormat(channels, side, side, (0.5,) * channels, (0.5,) * channels, "bilinear", crop_pct, "center", mode)


def test_an_image_is_a_function_of_seed_index_corruption_and_severity():
    def pixels(index, *arguments):
        return np.asarray(CorruptedSource(source(), image_format(), *arguments).load(index)[0])

    base = pixels(0, "gaussian_noise", 3, 7, "cifar")
    assert np.array_equal(base, pixels(0, "gaussian_noise", 3, 7, "cifar"))
    for other in (("gaussian_noise", 3, 8, "cifar"), ("gaussian_noise", 4, 7, "cifar"), ("shot_noise", 3, 7, "cifar")):
        assert not np.array_equal(base, pixels(0, *other))
    clean = (source().load(0)[0], source().load(1)[0])
    noise = [pixels(i, "gaussian_noise", 1, 7, "cifar") - np.asarray(clean[i]).astype(float) for i in (0, 1)]
    assert not np.array_equal(*noise)


def test_images_are_cropped_first_and_grey_ones_stay_grey():
    corrupted = CorruptedSource(source(), image_format(8, crop_pct=0.5), "contrast", 1, 0, "cifar")
    image, label = corrupted.load(0)
    middle = picture(16)[4:12, 4:12]
    mean = (middle / 255).mean(axis=(0, 1))
    expected = (255 * ((middle / 255 - mean) * 0.75 + mean)).astype(np.uint8)
    assert label == 3 and np.array_equal(np.asarray(image), expected)
    assert corrupted.loaded_format.crop_pct == 1.0 and corrupted.name(0) == "test image 0 (contrast, severity 1)"
    grey, _ = CorruptedSource(source(1), image_format(mode="L"), "snow", 5, 0, "cifar").load(1)
    assert (grey.mode, grey.size) == ("L", (16, 16))
    with pytest.raises(UserError, match="square images, not 16 x 8"):
        form = ImageFormat(3, 16, 8, (0.5,) * 3, (0.5,) * 3, "bilinear", 1.0, "center", "RGB")
        CorruptedSource(source(), form, "snow", 1, 0, "cifar")


def test_the_published_files(tmp_path):
    images = np.arange(10 * 4 * 4 * 3, dtype=np.uint16).astype(np.uint8).reshape(10, 4, 4, 3)
    np.save(tmp_path / "fog.npy", images)
    np.save(tmp_path / "labels.npy", np.array([2, 0] * 5, dtype=np.uint8))
    found = open_published(tmp_path, "fog", 3, SourceInfo(num_classes=3))
    assert len(found) == 2 and found.load(1)[1] == 0
    assert np.array_equal(np.asarray(found.load(1)[0]), images[5])
    with pytest.raises(UserError, match=r"snow\.npy: no such file"):
        open_published(tmp_path, "snow", 1, SourceInfo())
    with pytest.raises(UserError, match="a label of 2, and the model has 2 classes"):
        open_published(tmp_path, "fog", 1, SourceInfo(num_classes=2))
    np.save(tmp_path / "labels.npy", np.array([2, -1] * 5))
    with pytest.raises(UserError, match="a label of -1"):
        open_published(tmp_path, "fog", 1, SourceInfo(num_classes=3))
    (tmp_path / "fog.npy").write_bytes(b"\x93NUMPY broken")
    with pytest.raises(UserError, match="no array that can be read"):
        open_published(tmp_path, "fog", 1, SourceInfo())
    np.save(tmp_path / "fog.npy", images[:7])
    with pytest.raises(UserError, match="expected"):
        open_published(tmp_path, "fog", 1, SourceInfo())
    Image.fromarray(images[0]).save(tmp_path / "fog.npy", "PNG")
    with pytest.raises(UserError, match="no array that can be read"):
        open_published(tmp_path, "fog", 1, SourceInfo())
