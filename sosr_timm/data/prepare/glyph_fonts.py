"""The fonts in font files: names, versions, licences, and the characters that they have."""

from __future__ import annotations

import io
import logging
import re
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

from sosr_timm.errors import one_line

CHARACTERS = tuple(chr(code) for code in range(0x21, 0x7F))
OUTLINES = ("glyf", "CFF ", "CFF2")
# Numbers of entries in a font's name table.
FAMILY, STYLE, VERSION, LICENCE, LICENCE_PAGE, TYPOGRAPHIC_FAMILY, TYPOGRAPHIC_STYLE = 1, 2, 5, 13, 14, 16, 17
# What a licence's text is known by, the most telling first.
LICENCES = (
    (r"open font licen[cs]e|\bofl\b|sil\.org/ofl", "OFL-1.1"),
    (r"apache licen[cs]e|apache\.org", "Apache-2.0"),
    (r"ubuntu font licen[cs]e", "Ubuntu-font-1.0"),
    (r"gust font licen[cs]e", "GUST-Font-License"),
    (r"bitstream vera|dejavu", "Bitstream-Vera"),
    (r"lesser general public|lgpl", "LGPL"),
    (r"general public licen[cs]e|\bgpl\b|gnu\.org", "GPL"),
    (r"(creative ?commons|\bcc).*(share ?alike|by-sa)", "CC-BY-SA"),
    (r"creative ?commons|\bcc[- ]by", "CC-BY"),
    (r"public domain|\bcc0\b", "public-domain"),
    (r"\bmit licen[cs]e|permission is hereby granted, free of charge", "MIT"),
)


@dataclass(frozen=True)
class Font:
    """One font of a font file.

    Attributes:
        package: that it comes from.
        package_version: of the package.
        path: of the file, relative to the root of the system.
        index: in a file of several fonts, else 0.
        family: as the font names it.
        style: as the font names it.
        version: as the font names it; "" where it does not.
        licence: short name of the licence.
        licence_source: "font" where its name table says so, else "debian", for the package's copyright file.
    """

    package: str
    package_version: str
    path: Path
    index: int
    family: str
    style: str
    version: str
    licence: str
    licence_source: str


@dataclass(frozen=True)
class Unusable:
    """A font that is left out before it is rendered.

    Attributes:
        rule: by which it is left out.
    """

    rule: str


def read_fonts(root: Path, path: Path, package: str, package_version: str) -> Iterator[Font | Unusable]:
    """The fonts of a file, or for each why it cannot be used.

    Args:
        root: of the Debian system.
        path: of the file, relative to it.
        package: that it comes from.
        package_version: of the package.
    """
    from fontTools.ttLib import TTCollection, TTFont, TTLibError

    with _silent_fonttools():
        try:
            content = (root / path).read_bytes()
            file = io.BytesIO(content)
            fonts = list(TTCollection(file, lazy=True).fonts) if content[:4] == b"ttcf" else [TTFont(file, lazy=True)]
        except (OSError, TTLibError):
            yield Unusable("unreadable")
            return
        for index, font in enumerate(fonts):
            try:
                rule = _rule_against(font)
                if rule:
                    yield Unusable(rule)
                    continue
                names = {number: _name(font, number) for number in (FAMILY, STYLE, VERSION)}
                family = _name(font, TYPOGRAPHIC_FAMILY) or names[FAMILY] or path.stem
                style = _name(font, TYPOGRAPHIC_STYLE) or names[STYLE]
                said = f"{_name(font, LICENCE)} {_name(font, LICENCE_PAGE)}".strip()
            # fontTools raises errors of many types for damaged tables.
            except Exception:
                yield Unusable("unreadable")
                continue
            licence = licence_of(said)
            source = "font" if licence else "debian"
            licence = licence or debian_licence(root, package)
            yield Font(package, package_version, path, index, family, style, names[VERSION], licence, source)


def _rule_against(font) -> str:
    """The rule by which a font is left out before it is rendered; "" where none applies."""
    if not any(table in font for table in OUTLINES):
        return "no outlines"
    characters = font.getBestCmap() or {}
    glyphs = [characters.get(ord(character)) for character in CHARACTERS]
    if None in glyphs or any(font.getGlyphID(glyph) == 0 for glyph in glyphs):
        return "lacks characters"
    return ""


def _name(font, number: int) -> str:
    """An entry of the name table without characters that cannot be printed; "" where it has none."""
    text = font["name"].getDebugName(number) or ""
    text = " ".join("".join(character if character.isprintable() else " " for character in text).split())
    return text if any(character.isalnum() for character in text) else ""


def licence_of(text: str) -> str:
    """The short name of the licence that a text states; "" where it is none of the known ones."""
    return next((name for pattern, name in LICENCES if re.search(pattern, text, re.IGNORECASE)), "")


def debian_licence(root: Path, package: str) -> str:
    """The short names in the package's copyright file; where it is plain text, the licence that it mentions."""
    path = root / "usr/share/doc" / package / "copyright"
    try:
        text = path.read_text(encoding="utf-8", errors="replace")
    except OSError as error:
        return f"unknown ({one_line(error.strerror or error)})"
    upstream = [paragraph for paragraph in text.split("\n\n") if re.search(r"^Files:(?!\s*debian/)", paragraph, re.M)]
    found = re.findall(r"^License:[ \t]*(\S.*)$", "\n".join(upstream), re.MULTILINE)
    names = sorted({" ".join(name.split()) for name in found})
    return "; ".join(names) if names else licence_of(text) or f"see {path.name} of {package}"


@contextmanager
def _silent_fonttools() -> Iterator[None]:
    """Keep fontTools' remarks about odd tables off the screen."""
    logger = logging.getLogger("fontTools")
    level = logger.level
    logger.setLevel(logging.CRITICAL)
    try:
        yield
    finally:
        logger.setLevel(level)
