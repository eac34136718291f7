"""`glyphs` as prepared: pictures of the 94 printable ASCII characters, each with its font's file and family."""

from __future__ import annotations

import csv
import dataclasses
from pathlib import Path

import numpy as np

from sosr_timm.data.prepare.glyph_fonts import CHARACTERS
from sosr_timm.data.prepare.glyph_pictures import SIDE
from sosr_timm.data.prepare.glyphs import FONTS, default_folder, images_file, labels_file
from sosr_timm.data.prepare.manifest import check_listing, read_manifest
from sosr_timm.data.sources.embedded import read_idx
from sosr_timm.data.sources.names import DATASETS, is_training_split
from sosr_timm.data.sources.source import ArraySource, ImageSource, SourceInfo
from sosr_timm.errors import UserError, one_line

# Of the training pictures.
INFO = SourceInfo(len(CHARACTERS), 1, SIDE, (0.0846,), (0.2554,), CHARACTERS)


class GlyphSource(ArraySource):
    """Pictures of the characters of fonts, one font after the other.

    Args:
        images: (N, 32, 32) uint8.
        labels: (N,) integers.
        info: about the data set.
        title: of the set, for messages.
        fonts: a name for each font: its file, and its index in a file of several.
        groups: of each font, the group of related families that it belongs to.
    """

    def __init__(
        self, images: np.ndarray, labels: np.ndarray, info: SourceInfo, title: str, fonts: list[str], groups: list[str]
    ):
        super().__init__(images, labels, info, title)
        self.fonts, self.groups = fonts, groups

    def name(self, index: int) -> str:
        font, character = divmod(index, len(CHARACTERS))
        return f"{self.fonts[font]}, character {CHARACTERS[character]}"

    def held_out_key(self, index: int) -> str:
        """A group of related families, so that no family is in both parts.

        The word in front makes its hash another one than that which chose the test part.
        """
        return f"held out: {self.groups[index // len(CHARACTERS)]}"


@DATASETS.register("glyphs")
def glyphs(split: str, root: str | None, download: bool) -> ImageSource:
    """The 94 printable ASCII characters in the fonts of Debian packages: grey images of 32 x 32 pixels.

    Read from `root`, or without a `root` from where `sosr-data prepare glyphs` writes them.
    """
    part = "train" if is_training_split(split, "glyphs") else "test"
    folder = Path(root) if root else default_folder()
    manifest = read_manifest(folder) if folder.is_dir() else None
    if manifest is None:
        advice = f"sosr-data prepare glyphs / {root}" if root else "sosr-data prepare glyphs"
        raise UserError(f"glyphs: not in {folder}; make it from Debian's font packages with: {advice}")
    if manifest.name != "glyphs":
        raise UserError(f"{folder} was prepared as {manifest.name}, not as glyphs")
    check_listing(manifest, part)
    images, labels = (read_idx(folder, name(part)) for name in (images_file, labels_file))
    try:
        with open(folder / FONTS, newline="", encoding="utf-8", errors="surrogateescape") as file:
            rows = [row for row in csv.DictReader(file) if row["split"] == part]
        fonts = [row["file"] if row["index"] == "0" else f"{row['file']} ({row['index']})" for row in rows]
        groups = [row["group"] for row in rows]
    except (OSError, KeyError, ValueError) as error:
        raise UserError(f"{folder / FONTS} cannot be read ({one_line(error)}); prepare glyphs again") from None
    if not len(images) == len(labels) == len(fonts) * len(CHARACTERS):
        raise UserError(
            f"{folder}: {len(images)} images, {len(labels)} labels and {len(fonts)} fonts of {part} do not fit each "
            "other; prepare glyphs again"
        )
    info = dataclasses.replace(INFO, origin=manifest.origin())
    return GlyphSource(images, labels, info, f"glyphs {split}", fonts, groups)
