"""Image files of every mode that occurs, read into the format that the model sees."""

import numpy as np
import pytest
from PIL import Image

from sosr_timm.data.sources.catalog import open_source
from sosr_timm.data.transforms.image_modes import mode_of, to_mode
from tests.data.images import picture, write_picture


def saved(tmp_path, image, name, **arguments):
    path = tmp_path / "train" / "a" / name
    path.parent.mkdir(parents=True, exist_ok=True)
    image.save(path, **arguments)
    return open_source("", str(tmp_path), "train").load(0)[0]


@pytest.mark.parametrize(
    ("mode", "name"),
    [
        ("RGB", "x.png"), ("RGB", "x.jpg"), ("RGB", "X.JPEG"), ("L", "x.png"), ("L", "x.jpg"), ("1", "x.png"),
        ("CMYK", "x.jpg"), ("P", "x.png"), ("RGBA", "x.png"), ("LA", "x.png"),
    ],
)  # fmt: skip
@pytest.mark.parametrize("target", ["RGB", "L"])
def test_every_mode_becomes_the_network_s(tmp_path, mode, name, target):
    original = picture(mode=mode)
    image = to_mode(saved(tmp_path, original, name), target)
    assert image.mode == target and image.size == original.size
    expected = original.convert("RGB").convert(target)
    tolerance = 0 if name.endswith("png") else 60
    assert np.abs(np.asarray(image).astype(int) - np.asarray(expected)).mean() <= tolerance


def test_sixteen_bits_keep_their_range(tmp_path):
    ramp = np.linspace(0, 65535, 256).astype(np.uint16).reshape(16, 16)
    image = saved(tmp_path, Image.fromarray(ramp), "x.png")
    assert image.mode == "I;16"
    for mode in ("L", "RGB"):
        pixels = np.asarray(to_mode(image, mode)).reshape(256, -1)[:, 0]
        assert np.array_equal(pixels, np.arange(256)), "PIL alone makes all but the darkest white"
    assert np.asarray(to_mode(image, "I")).max() == 65535


def test_eight_bits_stored_in_sixteen_come_back(tmp_path):
    pixels = np.asarray(picture(mode="L"))
    stored = Image.fromarray(pixels.astype(np.uint16) * 257)
    assert np.array_equal(to_mode(saved(tmp_path, stored, "x.png"), "L"), pixels)


def test_a_palette_with_transparency_keeps_its_colours(tmp_path, recwarn):
    palette = picture().quantize(16)
    for transparency in (3, bytes(range(0, 160, 10))):
        image = to_mode(saved(tmp_path, palette, "x.png", transparency=transparency), "RGB")
        assert np.array_equal(image, palette.convert("RGB"))
    assert not [warning for warning in recwarn if "transparency" in str(warning.message).lower()]


def test_orientation_tags_are_left_as_timm_leaves_them(tmp_path):
    exif = Image.Exif()
    exif[0x0112] = 6  # "rotate by 90 degrees to show"
    path = write_picture(tmp_path / "train" / "a" / "x.jpg", size=(12, 10), exif=exif)
    image, _ = open_source("", str(tmp_path), "train").load(0)
    assert image.getexif()[0x0112] == 6 and image.size == (12, 10)
    with Image.open(path) as same:
        assert np.array_equal(image, same)


def test_modes_by_channels():
    assert [mode_of(channels) for channels in (1, 3, 4)] == ["L", "RGB", "RGBA"]


def test_reading_closes_its_files(tmp_path, recwarn):
    import gc

    source = open_source("", str(write_picture(tmp_path / "a" / "x.png").parents[1]), "train")
    image, _ = source.load(0)
    (tmp_path / "a" / "x.png").unlink()
    assert image.convert("L").size == (12, 10), "pixels were read"
    with pytest.raises(OSError):
        source.load(0)
    gc.collect()
    assert not [warning for warning in recwarn if warning.category is ResourceWarning]
