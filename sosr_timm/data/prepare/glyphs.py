"""`glyphs`: the 94 printable ASCII characters in the fonts of Debian packages, split by the families of the fonts."""

from __future__ import annotations

import csv
import hashlib
import io
import os
import re
from collections import Counter
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from tqdm import tqdm

from sosr_timm.data.prepare.glyph_fonts import CHARACTERS, Font, Unusable, read_fonts
from sosr_timm.data.prepare.glyph_packages import Package, find_packages, font_files
from sosr_timm.data.prepare.glyph_pictures import SIDE, distances, distinct_pictures, render
from sosr_timm.data.prepare.spec import Contents, DataSpec, File, Preparation
from sosr_timm.errors import UserError

FONTS = "fonts.csv"
LEFT_OUT = "left_out.csv"
COLUMNS = (
    *("split", "group", "family", "style", "version", "licence", "licence_source"),
    *("package", "package_version", "file", "index"),
)
MIN_DISTINCT = 80  # pictures of the 94: fewer have fonts of one case and fonts whose characters are placeholders
DUPLICATE = 4.0  # grey levels; fonts that differ by less look the same
RELATED = 20.0  # grey levels; families with fonts that differ by less are versions of one design
TEST_SHARE = 0.2  # of the groups of families
# Words at the end of a family's name that name a style and no design.
STYLE_WORDS = re.compile(
    r"(?:[\s_-]*(?:thin|hairline|extralight|extra light|light|book|regular|medium|demi|semibold|bold|black|heavy"
    r"|italic|oblique|half italic|condensed|semi-condensed|narrow|compact|tight|halftight|loose|halfloose|wide|display"
    r"|text|caption|titling|style|sc|std|no\d|-?2[xy]))+$"
)
# Families whose characters are not what Unicode says, found by looking at every family.
OTHER_SIGNS = {
    **dict.fromkeys(("Alfa-beta", "Ellhnikh", "Symbol"), "Greek letters"),
    **dict.fromkeys(("TAMu_Kadambri", "TAMu_Kalyani", "TAMu_Maduram"), "Tamil letters"),
    **dict.fromkeys(("cmex10", "cmmi10", "cmr10", "cmsy10", "esint10", "msam10", "stmary10"), "TeX's encoding"),
    **dict.fromkeys(("jsMath-bbold10", "jsMath-cmbsy10", "jsMath-cmbx10", "jsMath-cmex10"), "TeX's encoding"),
    **dict.fromkeys(("jsMath-cmmi10", "jsMath-cmmib10", "jsMath-cmr10", "jsMath-cmss10"), "TeX's encoding"),
    **dict.fromkeys(("jsMath-cmsy10", "jsMath-cmti10", "jsMath-msam10", "jsMath-stmary10"), "TeX's encoding"),
    **dict.fromkeys(("BPG Gorda GPL&GNU", "BPG Nino Medium Cond GPL&GNU"), "a numero sign in place of #"),
    "FutharkAdapted": "runes",
    "Linux Biolinum Keyboard O": "pictures of keys",
    "Monlam Uni Dutsa2": "letters shifted by two places",
    "TriodPostnaja": "Church Slavonic letters",
    "feta26": "musical notation",
}
RULES = {
    "unreadable": "fontTools cannot read it, or FreeType cannot scale it (bitmaps only)",
    "no outlines": "it has no table of outlines",
    "lacks characters": "its Unicode table lacks one of the 94 characters or maps it to the placeholder glyph",
    "other signs": "a family of `OTHER_SIGNS`: symbols, other alphabets, other encodings",
    "blank": "one of the characters has no ink",
    "few pictures": f"fewer than {MIN_DISTINCT} of its 94 pictures are different: one case only, or placeholders",
    "same pictures": "its 94 pictures are those of an earlier font, byte for byte",
    "look-alike": f"its pictures differ from an earlier font's by less than {DUPLICATE:g} grey levels",
}

SPEC = DataSpec(
    name="glyphs",
    page="https://packages.debian.org/bookworm/fonts/",
    archives=(),
    num_classes=len(CHARACTERS),
    counts={"train": 93_436, "test": 31_208},
    per_class={"train": 994, "test": 332},
)


@dataclass(frozen=True)
class Glyphs:
    """The fonts of the data set.

    Attributes:
        fonts: in the order of packages and files.
        pictures: (F, 94, 32, 32) uint8.
        groups: of each font, the name of its group of related families.
        left_out: number of fonts that are not in it, by rule.
    """

    fonts: list[Font]
    pictures: np.ndarray
    groups: list[str]
    left_out: Counter[str]


def collect(root: Path, packages: list[Package]) -> Glyphs:
    """Read, draw, filter and group the fonts of packages."""
    left_out: Counter[str] = Counter()
    fonts: list[Font] = []
    drawn: list[np.ndarray] = []
    seen: set[bytes] = set()
    for package in tqdm(packages, desc="glyphs", unit="package", leave=False, disable=None):
        for path in font_files(root, package.name):
            for font in read_fonts(root, path, package.name, package.version):
                pictures = None if isinstance(font, Unusable) else render(root / path, font.index)
                rule = font.rule if isinstance(font, Unusable) else _rule_against(font, pictures)
                digest = b"" if rule else hashlib.sha256(pictures).digest()
                if not rule and digest in seen:
                    rule = "same pictures"
                if rule:
                    left_out[rule] += 1
                    continue
                seen.add(digest)
                fonts.append(font)
                drawn.append(pictures)
    if not fonts:
        raise UserError("glyphs: none of the packages' fonts can be used")
    stacked = np.stack(drawn)
    apart = distances(stacked)
    kept = _without_look_alikes(apart)
    left_out["look-alike"] += len(fonts) - len(kept)
    fonts = [fonts[place] for place in kept]
    groups = group_families([font.family for font in fonts], apart[np.ix_(kept, kept)])
    return Glyphs(fonts, stacked[kept], groups, left_out)


def _rule_against(font: Font, pictures: np.ndarray | None) -> str:
    if font.family in OTHER_SIGNS:
        return "other signs"
    if pictures is None:
        return "unreadable"
    if not pictures.any(axis=(1, 2)).all():
        return "blank"
    return "few pictures" if distinct_pictures(pictures) < MIN_DISTINCT else ""


def _without_look_alikes(apart: np.ndarray) -> list[int]:
    kept: list[int] = []
    for place in range(len(apart)):
        if not kept or apart[place, kept].min() >= DUPLICATE:
            kept.append(place)
    return kept


def group_families(families: list[str], apart: np.ndarray) -> list[str]:
    """Join families that are versions of one design, so that the split can keep them together.

    Families are joined that have the same name but for words of style, or a font each that differ by less than
    `RELATED` grey levels.

    Args:
        families: of each font.
        apart: (F, F) distances of the fonts.

    Returns:
        of each font, the name of its group: the alphabetically first family in it.
    """
    parent = {family: family for family in families}

    def head(family: str) -> str:
        while parent[family] != family:
            family = parent[family]
        return family

    def join(one: str, other: str) -> None:
        first, second = sorted((head(one), head(other)))
        parent[second] = first

    designs: dict[str, str] = {}
    for family in families:
        join(designs.setdefault(design_of(family), family), family)
    for one, other in np.argwhere(np.triu(apart < RELATED, 1)):
        join(families[one], families[other])
    return [head(family) for family in families]


def design_of(family: str) -> str:
    """A family's name without words of style at its end, in lower case."""
    name = family.lower()
    return STYLE_WORDS.sub("", name) or name


def split_of(group: str) -> str:
    """The part that a group of families belongs to, by a hash of its name: other fonts do not change it."""
    digest = hashlib.sha256(group.encode()).digest()
    return "test" if int.from_bytes(digest[:8], "big") / 2.0**64 < TEST_SHARE else "train"


def default_folder() -> Path:
    """Where `prepare` writes the set and a run looks for it if no directory is named: below the user's cache."""
    cache = os.environ.get("XDG_CACHE_HOME")
    return (Path(cache) if cache else Path.home() / ".cache") / "sosr_timm" / "glyphs"


def _locate(source: Path, part: bool) -> tuple[dict[str, Path], list[dict[str, Any]]]:
    packages = find_packages(source, part)
    return {"root": source}, [{"package": package.name, "version": package.version} for package in packages]


def _read(places: dict[str, Path], part: bool) -> Contents:
    root = places["root"]
    glyphs = collect(root, find_packages(root, part))
    return Contents(CHARACTERS, (), _files(glyphs), libraries())


def libraries() -> dict[str, str]:
    """The libraries that draw and read the fonts, with their versions."""
    import fontTools
    import PIL
    from PIL import features

    return {
        "freetype": features.version("freetype2") or "unknown",
        "pillow": PIL.__version__,
        "fonttools": fontTools.version,
    }


def _files(glyphs: Glyphs) -> Iterator[File]:
    splits = np.array([split_of(group) for group in glyphs.groups])
    order = [place for split in ("train", "test") for place in np.flatnonzero(splits == split)]
    rows = [_row(glyphs.fonts[place], splits[place], glyphs.groups[place]) for place in order]
    yield File("", FONTS, _table(COLUMNS, rows))
    yield File("", LEFT_OUT, _table(("rule", "fonts"), [(rule, glyphs.left_out[rule]) for rule in RULES]))
    for split in ("train", "test"):
        pictures = glyphs.pictures[splits == split].reshape(-1, SIDE, SIDE)
        labels = np.tile(np.arange(len(CHARACTERS), dtype=np.uint8), len(pictures) // len(CHARACTERS))
        yield File(split, images_file(split), idx(pictures), len(pictures), tuple(labels.tolist()))
        yield File(split, labels_file(split), idx(labels))


def images_file(split: str) -> str:
    """The name of the file of a split's pictures, in the form of MNIST's."""
    return f"{split}-images-idx3-ubyte"


def labels_file(split: str) -> str:
    """The name of the file of a split's labels, in the form of MNIST's."""
    return f"{split}-labels-idx1-ubyte"


def idx(values: np.ndarray) -> bytes:
    """An array of bytes in the IDX format of MNIST (not compressed: the bytes then depend on no compressor)."""
    header = bytes((0, 0, 8, values.ndim)) + b"".join(size.to_bytes(4, "big") for size in values.shape)
    return header + np.ascontiguousarray(values, np.uint8).tobytes()


def _row(font: Font, split: str, group: str) -> tuple[Any, ...]:
    return (
        *(split, group, font.family, font.style, font.version, font.licence, font.licence_source),
        *(font.package, font.package_version, font.path.as_posix(), font.index),
    )


def _table(columns: tuple[str, ...], rows: list[tuple[Any, ...]]) -> bytes:
    text = io.StringIO()
    writer = csv.writer(text, lineterminator="\n")
    writer.writerow(columns)
    writer.writerows(rows)
    return text.getvalue().encode("utf-8", "surrogateescape")


PREPARATION = Preparation(SPEC, _read, _locate, Path("/"), default_folder)
