"""The corruptions as functions of an image, a severity and random numbers, as CIFAR-10-C and ImageNet-C were made.

Each takes an image with values in [0, 1], its strength, the form and a `RandomState`, whose stream NumPy never changes.
It returns values around [0, 1], or bytes. They draw in the order of the published code, so that the same generator
gives the same image.
"""

from __future__ import annotations

import io
import math
from collections.abc import Callable
from typing import Any

import numpy as np
from PIL import Image
from scipy import ndimage

from sosr_timm.data.corruptions.frost import frost_texture
from sosr_timm.data.corruptions.parameters import FORMS, SEVERITIES
from sosr_timm.registry import close_names

Corruption = Callable[[np.ndarray, Any, str, np.random.RandomState], np.ndarray]
PUBLISHED_QUALITY = 85  # of the JPEG files of ImageNet-C
GREY = np.array([0.299, 0.587, 0.114], dtype=np.float32)


def gaussian_noise(x: np.ndarray, deviation: float, form: str, random: np.random.RandomState) -> np.ndarray:
    """Add normal noise."""
    return x + random.normal(size=x.shape, scale=deviation)


def shot_noise(x: np.ndarray, photons: float, form: str, random: np.random.RandomState) -> np.ndarray:
    """Count photons, of which a white pixel sends `photons`."""
    return random.poisson(x * photons) / photons


def impulse_noise(x: np.ndarray, share: float, form: str, random: np.random.RandomState) -> np.ndarray:
    """Set a share of the values to 0 or 1, each as likely."""
    hit, white = random.random_sample(x.shape) < share, random.random_sample(x.shape) < 0.5
    return np.where(hit, white, x)


def defocus_blur(x: np.ndarray, strength: Any, form: str, random: np.random.RandomState) -> np.ndarray:
    """Average over a disk, itself slightly blurred."""
    kernel = disk(*strength)
    return np.stack([ndimage.correlate(x[..., c], kernel, mode="mirror") for c in range(x.shape[2])], axis=2)


def disk(radius: float, blur: float) -> np.ndarray:
    """A disk of sum 1 (about, after the blur), in a window of 17 pixels or just around a larger one."""
    reach = np.arange(-8, 9) if radius <= 8 else np.arange(-radius, radius + 1)
    flat = (reach[:, None] ** 2 + reach[None] ** 2 <= radius**2).astype(np.float32)
    half = 1 if radius <= 8 else 2
    line = np.exp(-(np.arange(-half, half + 1) ** 2) / (2 * blur**2))
    return ndimage.correlate(flat / flat.sum(), np.outer(line, line) / line.sum() ** 2, mode="mirror")


def glass_blur(x: np.ndarray, strength: Any, form: str, random: np.random.RandomState) -> np.ndarray:
    """Blur, move pixels around, blur again.

    The published code swaps two views of one array, which copies the second pixel over the first; so does this.
    """
    sigma, reach, rounds = strength
    bytes_ = (blurred(x, sigma) * 255).astype(np.uint8)
    side = len(x)
    places = list(range(side * side))
    line = range(side - reach, reach, -1)
    for _ in range(rounds):
        steps = random.randint(-reach, reach, size=(len(line) ** 2, 2))
        offsets = (steps[:, 1] * side + steps[:, 0]).tolist()
        for place, offset in zip((h * side + w for h in line for w in line), offsets, strict=True):
            places[place] = places[place + offset]
    moved = bytes_.reshape(side * side, -1)[places].reshape(x.shape)
    return blurred(moved / 255.0, sigma)


def blurred(x: np.ndarray, sigma: float) -> np.ndarray:
    """Gaussian blur of each channel, cut off at four deviations."""
    return ndimage.gaussian_filter(x, (sigma, sigma, 0), mode="nearest", truncate=4.0)


def motion_blur(x: np.ndarray, strength: Any, form: str, random: np.random.RandomState) -> np.ndarray:
    """Blur along a direction within 45 degrees of the horizontal."""
    return motion_blurred(x, *strength, random.uniform(-45, 45)).astype(np.uint8)


def motion_blurred(x: np.ndarray, radius: float, sigma: float, angle: float) -> np.ndarray:
    """ImageMagick's motion blur of 8-bit values: half a Gaussian along a line, edges repeated.

    Args:
        x: (H, W, C) multiples of 1/255.
        radius: the line has 2 ceil(radius) + 1 pixels.
        sigma: of the Gaussian.
        angle: of the line in degrees.

    Returns:
        (H, W, C) whole numbers from 0 to 255.
    """
    width = 2 * math.ceil(radius) + 1
    weights = np.exp(-(np.arange(width) ** 2) / (2 * sigma**2))
    weights /= weights.sum()
    down, across = math.sin(math.radians(angle)), math.cos(math.radians(angle))
    rows, columns = np.arange(x.shape[0]), np.arange(x.shape[1])
    total = np.zeros(x.shape)
    for number, weight in enumerate(weights):
        row = np.clip(rows + math.ceil(number * down - 0.5), 0, len(rows) - 1)
        column = np.clip(columns + math.ceil(number * across - 0.5), 0, len(columns) - 1)
        total += weight * x[row[:, None], column]
    # ImageMagick cuts decimals off; the small part is for whole numbers that rounding left just below themselves.
    return np.floor(total * 255 + 1e-3)


def zoom_blur(x: np.ndarray, strength: Any, form: str, random: np.random.RandomState) -> np.ndarray:
    """Average the image with enlarged ones."""
    end, step = strength
    x = x.astype(np.float32)
    factors = np.arange(1, end, step)
    out = np.zeros_like(x)
    for factor in factors:
        out += zoomed(x, factor)
    return (x + out) / (len(factors) + 1)


def zoomed(x: np.ndarray, factor: float) -> np.ndarray:
    """The middle of a square image, enlarged to the image's size."""
    side = len(x)
    cut = math.ceil(side / factor)
    top = (side - cut) // 2
    large = ndimage.zoom(x[top : top + cut, top : top + cut], (factor, factor, 1), order=1)
    trim = (len(large) - side) // 2
    return large[trim : trim + side, trim : trim + side]


def snow(x: np.ndarray, strength: Any, form: str, random: np.random.RandomState) -> np.ndarray:
    """Whiten the image and add flakes that fall in two directions."""
    mean, deviation, zoom, threshold, radius, sigma, share = strength
    flakes = zoomed(random.normal(size=x.shape[:2], loc=mean, scale=deviation)[..., None], zoom)
    flakes[flakes < threshold] = 0
    flakes = np.floor(np.clip(flakes, 0, 1) * 255) / 255
    flakes = motion_blurred(flakes, radius, sigma, random.uniform(-135, -45)) / 255
    x = x.astype(np.float32)
    white = np.maximum(x, (x @ GREY)[..., None] * 1.5 + 0.5)
    return share * x + (1 - share) * white + flakes + np.rot90(flakes, k=2)


def frost(x: np.ndarray, strength: Any, form: str, random: np.random.RandomState) -> np.ndarray:
    """Add a cut from one of five photographs of frost."""
    of_image, of_frost = strength
    side = len(x)
    texture = frost_texture(random.randint(5), side, small=form == "cifar")
    top, left = (random.randint(0, length - side) for length in texture.shape[:2])
    texture = texture[top : top + side, left : left + side]
    return np.clip(of_image * np.round(x * 255) + of_frost * texture, 0, 255).astype(np.uint8)


def fog(x: np.ndarray, strength: Any, form: str, random: np.random.RandomState) -> np.ndarray:
    """Add a fractal, and keep the brightest value where it was."""
    weight, decay = strength
    side, brightest = len(x), x.max()
    size = max(2 ** math.ceil(math.log2(side)), 2)
    return (x + weight * fractal(size, decay, random)[:side, :side, None]) * brightest / (brightest + weight)


def fractal(size: int, decay: float, random: np.random.RandomState) -> np.ndarray:
    """A height map in [0, 1] by diamonds and squares; `size` is a power of 2."""
    heights, step, jitter = np.zeros((size, size)), size, 100.0

    def moved(total: np.ndarray) -> np.ndarray:
        return total / 4 + jitter * random.uniform(-jitter, jitter, total.shape)

    while step >= 2:
        half = step // 2
        corners = heights[::step, ::step]
        rows = corners + np.roll(corners, -1, axis=0)
        heights[half::step, half::step] = moved(rows + np.roll(rows, -1, axis=1))
        middles = heights[half::step, half::step]
        across = middles + np.roll(middles, 1, axis=0) + corners + np.roll(corners, -1, axis=1)
        heights[::step, half::step] = moved(across)
        down = middles + np.roll(middles, 1, axis=1) + corners + np.roll(corners, -1, axis=0)
        heights[half::step, ::step] = moved(down)
        step, jitter = half, jitter / decay
    heights -= heights.min()
    return heights / heights.max()


def brightness(x: np.ndarray, added: float, form: str, random: np.random.RandomState) -> np.ndarray:
    """Raise the value in HSV."""
    from matplotlib.colors import hsv_to_rgb, rgb_to_hsv

    colours = rgb_to_hsv(x)
    colours[..., 2] = np.clip(colours[..., 2] + added, 0, 1)
    return hsv_to_rgb(colours)


def contrast(x: np.ndarray, share: float, form: str, random: np.random.RandomState) -> np.ndarray:
    """Draw each channel towards its mean."""
    mean = x.mean(axis=(0, 1), keepdims=True)
    return (x - mean) * share + mean


def elastic_transform(x: np.ndarray, strength: Any, form: str, random: np.random.RandomState) -> np.ndarray:
    """Map the image by a random affine map, then shift each pixel smoothly."""
    side = len(x)
    shift, smoothness, reach = (share * side for share in strength)
    x = x.astype(np.float32)
    centre, third = side // 2, side // 3
    start = np.array([[third, third], [third, -third], [-third, -third]], dtype=np.float64) + centre
    end = start + random.uniform(-reach, reach, size=start.shape)
    # Rows of `start` and `end` are points (column, row): where the image comes from, as a function of where it goes.
    back = np.linalg.solve(np.column_stack([end, np.ones(3)]), start).T[::-1]
    matrix, offset = back[:, [1, 0]], back[:, 2]
    channels = [ndimage.affine_transform(x[..., c], matrix, offset, order=1, mode="mirror") for c in range(x.shape[2])]
    across, down = (
        ndimage.gaussian_filter(random.uniform(-1, 1, (side, side)), smoothness, mode="reflect", truncate=3) * shift
        for _ in range(2)
    )
    rows, columns = np.mgrid[:side, :side]
    places = (rows + down.astype(np.float32), columns + across.astype(np.float32))
    return np.stack([ndimage.map_coordinates(c, places, order=1, mode="reflect") for c in channels], axis=2)


def pixelate(x: np.ndarray, share: float, form: str, random: np.random.RandomState) -> np.ndarray:
    """Make the image small and large again, in blocks."""
    side = len(x)
    small = max(int(side * share), 1)
    image = to_image(x).resize((small, small), Image.Resampling.BOX)
    return np.asarray(image.resize((side, side), Image.Resampling.BOX))


def jpeg_compression(x: np.ndarray, quality: int, form: str, random: np.random.RandomState) -> np.ndarray:
    """Write and read a JPEG file."""
    return np.asarray(through_jpeg(to_image(x), quality))


def to_image(x: np.ndarray) -> Image.Image:
    """Values that are multiples of 1/255 as an image."""
    return Image.fromarray(np.round(x * 255).astype(np.uint8))


def through_jpeg(image: Image.Image, quality: int) -> Image.Image:
    file = io.BytesIO()
    image.save(file, "JPEG", quality=quality, optimize=quality == PUBLISHED_QUALITY)
    return Image.open(file)


CORRUPTIONS: dict[str, Corruption] = {
    function.__name__: function
    for function in (
        *(gaussian_noise, shot_noise, impulse_noise, defocus_blur, glass_blur, motion_blur, zoom_blur),
        *(snow, frost, fog, brightness, contrast, elastic_transform, pixelate, jpeg_compression),
    )
}


def corrupt(
    image: np.ndarray, name: str, severity: int, random: np.random.RandomState, form: str = "cifar"
) -> np.ndarray:
    """A corrupted image.

    Args:
        image: (H, H, 3) uint8.
        name: of the corruption.
        severity: 1 to 5.
        random: whose numbers are used.
        form: whose strengths: "cifar" or "imagenet". Images of ImageNet-C are JPEG files of quality 85, so those of
            "imagenet" pass through one too.

    Returns:
        (H, H, 3) uint8.

    Raises:
        ValueError: an unknown corruption, severity or form, or an image of another shape.
    """
    if name not in CORRUPTIONS:
        raise ValueError(f"unknown corruption '{name}': {close_names(name, CORRUPTIONS)}")
    if form not in FORMS or severity not in SEVERITIES:
        raise ValueError(f"form '{form}', severity {severity}: forms are {', '.join(FORMS)}, severities 1 to 5")
    if image.ndim != 3 or image.shape[2] != 3 or image.shape[0] != image.shape[1] or image.dtype != np.uint8:
        raise ValueError(f"corruptions take square images of 3 channels and 8 bits, not {image.dtype}{image.shape}")
    strength = FORMS[form][name][severity - 1]
    found = CORRUPTIONS[name](image / 255.0, strength, form, random)
    if found.dtype != np.uint8:
        found = (np.clip(found, 0, 1) * 255).astype(np.uint8)  # decimals are cut off, as in the published code
    if form == "imagenet":
        return np.asarray(through_jpeg(Image.fromarray(found), PUBLISHED_QUALITY))
    return found
